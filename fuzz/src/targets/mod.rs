//! The targets, in the order in which a long run takes them: decoders first.

pub(crate) mod codecs;
mod copies;
mod damaged;
mod files;
mod ops;
mod oracle;
mod proofs;
mod round_trips;
mod texts;

use annals_gateway::fuzzing;

use crate::{repair, seeds};

/// A decoder that takes arbitrary bytes, or something that they can be turned into.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name on the command line, and that of its corpus.
    pub name: &'static str,
    /// Decodes; panics where it finds something wrong with the decoder.
    pub run: fn(&[u8]),
    /// Valid inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Makes checks and sizes of mutated bytes fit again, in place.
    pub repair: fn(&mut [u8]),
}

impl Target {
    /// Whether each case opens a store, which takes a thousand times as long as decoding a text.
    #[must_use]
    pub fn opens_a_store(&self) -> bool {
        const OPEN: [&str; 12] = [
            "wal_segment",
            "manifest",
            "catalogue",
            "key_file",
            "data_keys",
            "block_in_store",
            "snapshot",
            "log_piece",
            "record",
            "record_roundtrip",
            "engine_ops",
            "damaged_store_ops",
        ];
        OPEN.contains(&self.name)
    }
}

const fn plain(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds, repair: repair::nothing }
}

/// All targets.
pub const TARGETS: [Target; 42] = [
    Target {
        name: "wal_segment",
        run: files::wal_segment,
        seeds: || seeds::files("/wal/"),
        repair: repair::segment,
    },
    Target {
        name: "manifest",
        run: files::manifest,
        seeds: || seeds::files("/manifest-"),
        repair: repair::manifest,
    },
    Target {
        name: "catalogue",
        run: files::catalogue,
        seeds: || seeds::files("/catalog-"),
        repair: repair::catalogue,
    },
    Target {
        name: "key_file",
        run: files::key_file,
        seeds: || seeds::sealed_files("/keys/"),
        repair: repair::key_file,
    },
    Target {
        name: "data_keys",
        run: files::data_keys,
        seeds: || seeds::sealed_files("/t/1/keys-"),
        repair: repair::data_keys,
    },
    Target {
        name: "metric_block",
        run: files::metric_block,
        seeds: seeds::metric_blocks,
        repair: repair::block,
    },
    Target {
        name: "signal_block",
        run: files::signal_block,
        seeds: seeds::signal_blocks,
        repair: repair::block,
    },
    Target {
        name: "block_in_store",
        run: files::block_in_store,
        seeds: || seeds::files(".blk"),
        repair: repair::block,
    },
    plain("chunk_values", codecs::chunk_values, codecs::values_seeds),
    plain("chunk_histograms", codecs::chunk_histograms, codecs::histograms_seeds),
    plain("chunk_numbers", codecs::chunk_numbers, codecs::numbers_seeds),
    plain("block_index", codecs::block_index, codecs::index_seeds),
    plain("row_group", codecs::row_group, codecs::group_seeds),
    plain("record", files::record, seeds::records),
    plain("rows", codecs::rows, seeds::rows),
    plain("labels", codecs::labels, codecs::labels_seeds),
    plain("promql", texts::promql_text, texts::promql_seeds),
    plain("schema_toml", texts::schema_toml, texts::schema_seeds),
    plain("access_log", texts::access_log, texts::access_seeds),
    plain("sshd_log", texts::sshd_log, texts::sshd_seeds),
    plain("metrics_text", texts::metrics_text, texts::metrics_seeds),
    plain("csv", texts::csv, texts::csv_seeds),
    plain("influx", texts::influx, texts::influx_seeds),
    plain("json_samples", texts::json_samples, texts::json_samples_seeds),
    plain("json_signals", texts::json_signals, texts::json_signals_seeds),
    plain("remote_write", fuzzing::remote_write, fuzzing::remote_write_seeds),
    plain("remote_write_2", fuzzing::remote_write_2, fuzzing::remote_write_2_seeds),
    plain("otlp", fuzzing::otlp, fuzzing::otlp_seeds),
    plain("otlp_json", fuzzing::otlp_json, fuzzing::otlp_json_seeds),
    Target {
        name: "snapshot",
        run: copies::snapshot,
        seeds: || copies::backup_seeds("/snapshot-"),
        repair: repair::snapshot,
    },
    plain("log_piece", copies::log_piece, || copies::backup_seeds("/files/log-")),
    plain("export_manifest", copies::export_manifest, copies::export_seeds),
    plain("remote_read", fuzzing::remote_read, fuzzing::remote_read_seeds),
    plain("authorization", fuzzing::authorization, fuzzing::authorization_seeds),
    plain("receipt", proofs::receipt, proofs::receipt_seeds),
    plain("audit", proofs::audit, proofs::audit_seeds),
    plain("codec_roundtrip", round_trips::codec, round_trips::choices),
    plain("rows_roundtrip", round_trips::rows, round_trips::choices),
    plain("block_roundtrip", round_trips::block, round_trips::choices),
    plain("record_roundtrip", round_trips::record, round_trips::choices),
    plain("engine_ops", ops::engine_ops, ops::seeds),
    plain("damaged_store_ops", damaged::damaged_store_ops, damaged::seeds),
];
