//! No frame costs an allocation, nor does any step of its path.

#[path = "../benches/cases/mod.rs"]
mod cases;
mod counting;

use counting::allocations;

#[test]
fn frame_costs_no_allocation() {
    for mut case in cases::all() {
        for round in 0..3 {
            assert_eq!(allocations(&mut *case.work), 0, "{}, round {round}", case.name);
        }
    }
    // The counter counts.
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![0_u8; 10]))), 1);
}
