//! Runs the measurements that its arguments name; all of them without arguments. See the crate's docs.

mod codecs;
mod days;
mod hicard;
mod host;
mod index;
mod ingest;
mod instructions;
mod opening;
mod queries;
mod reports;
mod rivals;
mod scan;
mod signals;
mod sizes;
mod store;

fn main() {
    if hicard::is_child() {
        return hicard::child();
    }
    if instructions::is_child() {
        return instructions::child();
    }
    if opening::is_child() {
        return opening::child();
    }
    if queries::is_child() {
        return queries::child();
    }
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|n| n == name);
    let subjects: [(&str, fn()); 14] = [
        ("codecs", codecs::run),
        ("sizes", sizes::run),
        ("scan", scan::run),
        ("instructions", instructions::run),
        ("index", index::run),
        ("signals", signals::run),
        ("ingest", ingest::run),
        ("hicard", hicard::run),
        ("opening", opening::run),
        ("store", store::run),
        ("sealing", days::sealing),
        ("days", days::small_tenants),
        ("queries", queries::run),
        ("reports", reports::run),
    ];
    subjects.iter().filter(|(name, _)| wanted(name)).for_each(|(_, run)| run());
}
