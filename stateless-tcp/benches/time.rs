//! Nanoseconds of each step and of whole frames: `cargo bench -p stateless-tcp --bench time`.

mod cases;

use criterion::{Criterion, criterion_group, criterion_main};

fn time(criterion: &mut Criterion) {
    for mut case in cases::all() {
        criterion.bench_function(case.name, |bencher| bencher.iter(&mut *case.work));
    }
}

criterion_group!(benches, time);
criterion_main!(benches);
