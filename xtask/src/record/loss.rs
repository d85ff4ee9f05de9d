//! Recordings with frames missing: made from other cases, so that the truth is known.

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

fn drop_frames(folder: &Folder, from: &'static str, dropped: impl Fn(usize) -> bool) -> Result<()> {
    let source = folder.neighbour(from);
    let file = std::fs::read(&source).with_context(|| format!("record {from} first"))?;
    let (header, frames) = pcap::split(&file)?;
    let (mut kept, mut lost) = (header.to_vec(), Vec::new());
    for (index, frame) in frames.iter().enumerate() {
        if dropped(index + 1) {
            lost.push(index + 1);
        } else {
            kept.extend(*frame);
        }
    }
    std::fs::write(folder.input(), kept)?;
    folder.args(std::fs::read_to_string(source.with_file_name("args"))?.trim())?;
    folder.text_args("-q")?;
    let numbers: Vec<String> = lost.iter().map(usize::to_string).collect();
    let text = format!(
        "The case {from}, without these of its frames: {}.",
        numbers.join(" ")
    );
    let whole = std::fs::read(source.with_file_name("truth.json"))?;
    folder.truth(&Truth {
        lost: Some((from, lost)),
        ..truth_of(&whole)?
    })?;
    folder.write(
        "README",
        &super::wrapped(&text.split(' ').collect::<Vec<_>>(), 100),
    )
}

/// What the whole recording holds: more than can be found.
fn truth_of(whole: &[u8]) -> Result<Truth> {
    let whole: Value = serde_json::from_slice(whole)?;
    let mut truth = Truth::new("redis");
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
