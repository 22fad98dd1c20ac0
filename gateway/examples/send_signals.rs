//! A site that sends signals: what a plugin does, with no library but one for HMAC and SHA-256.
//!
//! `annals site create --tenant acme --site shop.example` prints key and secret; then
//! `cargo run -p annals-gateway --example send_signals 127.0.0.1:9797 acme KEY SECRET`.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{digest, hmac, rand};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, tenant, key, secret] = arguments.as_slice() else {
        return Err("give ADDRESS TENANT KEY SECRET".into());
    };
    println!("{}", send(address, tenant, key, secret)?);
    Ok(())
}

/// Sends one batch and gives the answer's body.
pub(crate) fn send(address: &str, tenant: &str, key: &str, secret: &str) -> Result<String, Box<dyn Error>> {
    // Drawn once for a batch. Who has no answer sends the same body again, signed anew: nothing is counted twice.
    let batch = random_hex()?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let body = format!(
        r#"{{"batch":"{batch}","signals":[
            {{"kind":"auth.attempt","timestamp":{now_ms},"result":"failure","method":"password","user":"ada"}},
            {{"kind":"auth.attempt","timestamp":{now_ms},"result":"maybe","method":"password"}}]}}"#
    );
    let (time, nonce) = (now_ms / 1000, random_hex()?);
    let hash = hex(digest::digest(&digest::SHA256, body.as_bytes()).as_ref());
    let text = format!("annals1\nPOST\n/v1/signals\n\n{tenant}\n{time}\n{nonce}\n{hash}");
    let signature =
        hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &unhex(secret)?), text.as_bytes()).as_ref());

    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "POST /v1/signals HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Authorization: annals1 key={key},time={time},nonce={nonce},signature={signature}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    if head.starts_with("HTTP/1.1 200") { Ok(body.to_owned()) } else { Err(answer.into()) }
}

fn random_hex() -> Result<String, Box<dyn Error>> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| "no randomness")?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let pairs = (0..text.len()).step_by(2).map(|at| text.get(at..at + 2).ok_or("an odd digit"));
    pairs.map(|pair| Ok(u8::from_str_radix(pair?, 16)?)).collect()
}
