//! Bodies: as many bytes as may be held, as they come, and what they are once they are decompressed.
//!
//! Nothing is allocated by what a body says of itself. Each decompressor writes until the limit, never past it; one stream
//! is read, and what follows it is an error.

use std::io::Read;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use tokio::sync::OwnedSemaphorePermit;

use super::IngestError;
use crate::app::Gateway;
use crate::body::{read_body, too_long};
use crate::config::Limits;
use crate::reply::ApiError;

/// The largest window that a zstd frame may ask for: 8 MiB, which RFC 8878 asks decoders for.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// A body that is shorter than this may be as many times longer as the limit of its length allows.
const SMALL_BYTES: usize = 64 << 10;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Plain,
    Gzip,
    Deflate,
    Zstd,
    /// A block, without frames.
    Snappy,
}

impl Encoding {
    /// What headers say; one encoding, once.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Encoding, IngestError> {
        let mut all = headers.get_all(CONTENT_ENCODING).iter();
        let (first, more) = (all.next(), all.next());
        let Some(first) = first else { return Ok(Encoding::Plain) };
        let name = first.to_str().unwrap_or("?").trim().to_ascii_lowercase();
        match name.as_str() {
            _ if more.is_some() || name.contains(',') => {
                Err(IngestError::Unsupported("a body may be compressed once".to_owned()))
            }
            "" | "identity" => Ok(Encoding::Plain),
            "gzip" | "x-gzip" => Ok(Encoding::Gzip),
            "deflate" => Ok(Encoding::Deflate),
            "zstd" => Ok(Encoding::Zstd),
            "snappy" => Ok(Encoding::Snappy),
            _ => Err(IngestError::Unsupported(
                "Content-Encoding is none of gzip, zstd, deflate, snappy".to_owned(),
            )),
        }
    }
}

/// What a body is, within the limits of a body that is so long as it is sent.
pub(crate) fn plain(limits: &Limits, encoding: Encoding, raw: &Bytes) -> Result<Bytes, IngestError> {
    match encoding {
        Encoding::Plain => Ok(raw.clone()),
        _ => {
            let ratio = raw.len().max(SMALL_BYTES).saturating_mul(limits.plain_ratio);
            decompressed(encoding, raw, limits.plain_bytes.min(ratio)).map(Bytes::from)
        }
    }
}

/// Reads a body as it is sent, once there is room for it.
pub(crate) async fn receive(
    gateway: &Gateway,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, OwnedSemaphorePermit), ApiError> {
    let most = gateway.config().limits.body_bytes;
    let held = room(gateway, told_bytes(headers, most)?).await?;
    Ok((read_body(gateway, body, most).await?, held))
}

/// How long a body will be, at most: what its headers tell.
pub(crate) fn told_bytes(headers: &HeaderMap, bytes_max: usize) -> Result<usize, ApiError> {
    let told = headers.get(CONTENT_LENGTH).and_then(|own| own.to_str().ok()?.parse::<usize>().ok());
    Some(told.unwrap_or(bytes_max)).filter(|told| *told <= bytes_max).ok_or_else(|| too_long(bytes_max))
}

/// Waits until a body of so many bytes may be held.
pub(crate) async fn room(gateway: &Gateway, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
    let held = gateway.pool.body(bytes).await;
    held.ok_or_else(|| IngestError::Busy("the gateway is stopping".to_owned()).api())
}

/// What a body is, of at most so many bytes.
pub(crate) fn decompressed(encoding: Encoding, raw: &[u8], most: usize) -> Result<Vec<u8>, IngestError> {
    let broken = |name: &str| IngestError::Bad(format!("the body is not {name}, or not whole"));
    match encoding {
        Encoding::Plain => Ok(raw.to_vec()),
        Encoding::Gzip => {
            let mut stream = flate2::bufread::GzDecoder::new(raw);
            let plain = bounded(&mut stream, most, "gzip")?;
            if stream.into_inner().is_empty() { Ok(plain) } else { Err(broken("one gzip stream")) }
        }
        Encoding::Deflate => {
            let mut stream = flate2::bufread::ZlibDecoder::new(raw);
            let plain = bounded(&mut stream, most, "deflate")?;
            if stream.into_inner().is_empty() { Ok(plain) } else { Err(broken("one deflate stream")) }
        }
        Encoding::Zstd => {
            let stream = zstd::stream::read::Decoder::with_buffer(raw).map_err(|_| broken("zstd"))?;
            let mut stream = stream.single_frame();
            stream.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| broken("zstd"))?;
            let plain = bounded(&mut stream, most, "zstd")?;
            if stream.finish().is_empty() { Ok(plain) } else { Err(broken("one zstd frame")) }
        }
        Encoding::Snappy => {
            let length = snap::raw::decompress_len(raw).map_err(|_| broken("snappy"))?;
            if length > most {
                return Err(over(most));
            }
            snap::raw::Decoder::new().decompress_vec(raw).map_err(|_| broken("snappy"))
        }
    }
}

/// All of a stream, if that is not more than this.
fn bounded(stream: &mut impl Read, most: usize, name: &str) -> Result<Vec<u8>, IngestError> {
    let mut plain = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = stream.take(limit).read_to_end(&mut plain);
    read.map_err(|_| IngestError::Bad(format!("the body is not {name}, or not whole")))?;
    if plain.len() > most { Err(over(most)) } else { Ok(plain) }
}

fn over(most: usize) -> IngestError {
    IngestError::TooLarge(format!("the body is over the limit of {most} bytes once it is decompressed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(bytes).expect("memory");
        out.finish().expect("memory")
    }

    fn each(bytes: &[u8]) -> [(Encoding, Vec<u8>); 4] {
        let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        deflate.write_all(bytes).expect("memory");
        [
            (Encoding::Gzip, gzip(bytes)),
            (Encoding::Deflate, deflate.finish().expect("memory")),
            (Encoding::Zstd, zstd::encode_all(bytes, 3).expect("memory")),
            (Encoding::Snappy, snap::raw::Encoder::new().compress_vec(bytes).expect("memory")),
        ]
    }

    #[test]
    fn every_encoding_is_undone_up_to_the_limit_and_no_further() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        for (encoding, packed) in each(&bytes) {
            assert_eq!(
                decompressed(encoding, &packed, bytes.len()).as_deref(),
                Ok(&bytes[..]),
                "{encoding:?}"
            );
            let over = decompressed(encoding, &packed, bytes.len() - 1);
            assert!(matches!(over, Err(IngestError::TooLarge(_))), "{encoding:?}: {over:?}");
        }
    }

    #[test]
    fn what_is_cut_altered_or_followed_by_more_is_refused() {
        let bytes: Vec<u8> = (0..20_000_u32).map(|n| (n.wrapping_mul(n) % 97) as u8).collect();
        for (encoding, packed) in each(&bytes) {
            for end in (0..packed.len()).step_by(97) {
                let cut = decompressed(encoding, &packed[..end], 1 << 20);
                assert!(cut.is_err(), "{encoding:?} cut at {end}");
            }
            let longer = [packed.as_slice(), packed.as_slice()].concat();
            assert!(decompressed(encoding, &longer, 1 << 20).is_err(), "{encoding:?} twice");
        }
    }

    #[test]
    fn a_frame_with_a_huge_window_is_refused() {
        let mut out = zstd::Encoder::new(Vec::new(), 1).expect("known");
        out.window_log(27).expect("possible");
        out.long_distance_matching(true).expect("possible");
        out.write_all(&vec![7; 1 << 20]).expect("memory");
        let packed = out.finish().expect("memory");
        assert!(decompressed(Encoding::Zstd, &packed, 2 << 20).is_err());
    }
}
