//! The measure of a frame's cost.

use super::{alone, is_privileged};
use crate::source::ebpf::cost::measure;

#[test]
fn every_run_is_of_the_program_that_is_named() {
    if !is_privileged() {
        return;
    }
    let _alone = alone();
    let cost = measure(1 << 20).unwrap();
    assert!(cost.empty > 0 && cost.empty < cost.small, "{cost:?}");
    assert!(cost.unmonitored < cost.small, "{cost:?}");
    // Not that a full frame costs more than a small one: processors copy a kilobyte in the time that a cache miss takes.
    assert!(cost.unmonitored < cost.large, "{cost:?}");
}
