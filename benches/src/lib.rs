//! Measurements of Annals, each printed by one command:
//!
//! ```text
//! cargo bench -p annals-benches -- codecs     bytes a value, encoding and decoding of every codec and two rivals
//! cargo bench -p annals-benches -- sizes      bytes a sample of whole blocks, by section
//! cargo bench -p annals-benches -- scan       samples/s of one thread over decoded chunks and over their aggregates
//! cargo bench -p annals-benches -- index      a million series: their index written, read, and looked up in
//! cargo bench -p annals-benches -- signals    a million raw signals: their bytes, listed, searched and counted
//! cargo bench -p annals-benches -- ingest     samples/s into the library, acknowledged after a sync
//! cargo bench -p annals-benches -- hicard     1,000,000 series: samples/s, peak memory, restart after a kill, bytes/sample
//! cargo bench -p annals-benches -- opening    a store of 1,000 blocks, and one of 10,000 tenants: until it answers, and memory
//! cargo bench -p annals-benches -- store      bytes/sample settled, and scan with sum over decoded chunks
//! cargo bench -p annals-benches -- sealing    rollups of one tenant-day of 34.6 M samples, in all tiers
//! cargo bench -p annals-benches -- days       days of 10,000 small tenants: written, flushed, sealed, swept; `--tenants=N`
//! cargo bench -p annals-benches -- queries    queries of dashboards: median, best, memory, and the figure to reach
//! cargo bench -p annals-benches -- reports    one site's week, and those of a thousand sites, against the figures to reach
//! cargo bench -p annals-benches               all of them
//! cargo bench -p annals-benches -- store --plain      the same of a store that is not sealed
//! ```
//!
//! Figures are CPU seconds of this process where a core is meant, so that a busy machine disturbs them little.

pub mod cpu_time;
pub mod histograms;
pub mod memory;
pub mod series;
pub mod sets;
