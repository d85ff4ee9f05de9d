//! Recordings with frames missing: made from other cases, so that the truth is known.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::Value;

use super::truth::Truth;
use super::{Case, Folder, pcap};

/// Every case; each needs the one that it is made from.
pub const CASES: &[Case] = &[
    Case {
        name: "loss-unpipelined",
        record: unpipelined,
    },
    Case {
        name: "loss-pipelined",
        record: pipelined,
    },
    Case {
        name: "loss-joined",
        record: joined,
    },
    Case {
        name: "loss-body",
        record: body,
    },
];

fn unpipelined(folder: &Folder) -> Result<()> {
    drop_frames(folder, "redis-benchmark-1", |number| number % 101 == 57)
}

fn pipelined(folder: &Folder) -> Result<()> {
    drop_frames(folder, "redis-benchmark-16", |number| number % 61 == 37)
}

/// The capture began when all connections had long been open.
fn joined(folder: &Folder) -> Result<()> {
    drop_frames(folder, "redis-echo", |number| number <= 40)
}

fn body(folder: &Folder) -> Result<()> {
    drop_frames(folder, "redis-large", |number| number == 5)
}

fn drop_frames(folder: &Folder, from: &str, dropped: impl Fn(usize) -> bool) -> Result<()> {
    let source = folder.neighbour(from);
    let file = std::fs::read(&source).with_context(|| format!("record {from} first"))?;
    let (header, frames) = pcap::split(&file)?;
    let (mut kept, mut numbers) = (header.to_vec(), String::new());
    for (index, frame) in frames.iter().enumerate() {
        if dropped(index + 1) {
            write!(numbers, " {}", index + 1)?;
        } else {
            kept.extend(*frame);
        }
    }
    std::fs::write(folder.input(), kept)?;
    folder.args(std::fs::read_to_string(source.with_file_name("args"))?.trim())?;
    folder.text_args("-q")?;
    folder.truth(&lossy(&std::fs::read(
        source.with_file_name("truth.json"),
    )?)?)?;
    folder.write(
        "README",
        &format!("The case {from} without the frames{numbers}."),
    )
}

/// The truth of the whole recording, marked as more than can be found.
fn lossy(truth: &[u8]) -> Result<Truth> {
    let whole: Value = serde_json::from_slice(truth)?;
    let mut truth = Truth {
        lossy: true,
        ..Truth::new("redis")
    };
    for (name, count) in whole["exchanges"]
        .as_object()
        .context("a truth without exchanges")?
    {
        truth
            .exchanges
            .insert(name.clone(), count.as_u64().unwrap_or(0));
    }
    Ok(truth)
}
