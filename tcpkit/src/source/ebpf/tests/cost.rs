//! The measure of a frame's cost.

use super::{alone, is_privileged};
use crate::source::ebpf::cost::measure;

#[test]
fn a_larger_frame_costs_more_and_every_run_is_of_the_program_that_is_named() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    let cost = measure(1 << 20).unwrap();
    assert!(cost.empty > 0 && cost.empty < cost.small, "{cost:?}");
    assert!(cost.unmonitored < cost.small, "{cost:?}");
    assert!(cost.small < cost.large, "{cost:?}");
}
