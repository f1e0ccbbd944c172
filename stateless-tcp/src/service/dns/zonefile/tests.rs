use super::*;
use std::fs;
use std::path::PathBuf;

/// Owner, type, TTL and data of each record.
type Records = Vec<(Vec<u8>, u16, u32, Vec<u8>)>;

fn collect(read: impl FnOnce(Sink<'_>) -> Reading) -> (Records, Reading) {
    let mut records = Vec::new();
    let reading = read(&mut |record| {
        records.push((record.owner.to_vec(), record.rtype, record.ttl, record.rdata.to_vec()));
        Ok(())
    });
    (records, reading)
}

#[test]
fn reads_the_fixtures() {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    for entry in fs::read_dir(fixtures).unwrap() {
        let path = entry.unwrap().path();
        let policy = Policy::default();
        let (records, reading) =
            collect(|sink| read(&Source { path: &path, origin: None, policy: &policy }, sink));
        reading.result.unwrap();
        assert!(!records.is_empty(), "{}", path.display());
    }
}
