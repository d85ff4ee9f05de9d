//! The stream's promises, checked against the conversation that was sent.

use proptest::prelude::*;

use super::*;
use crate::wire::{Addresses, Transport};

/// A frame as the test's network carries it.
#[derive(Clone, Debug)]
struct Sent {
    way: Direction,
    seq: u32,
    ack: u32,
    flags: u8,
    payload: Vec<u8>,
    cut: usize,
}

fn packet(sent: &Sent, frame: u64) -> Packet<'_> {
    Packet {
        time: Timestamp(1_000_000_000 + frame * 1000),
        frame,
        interface: 0,
        addresses: Addresses::V4 {
            source: 1,
            destination: 2,
        },
        source_port: 1,
        destination_port: 2,
        transport: Transport::Tcp,
        flags: sent.flags,
        ip_id: None,
        seq: sent.seq,
        ack: sent.ack,
        window: 1000,
        payload: &sent.payload[..sent.payload.len() - sent.cut],
        payload_len: sent.payload.len() as u32,
    }
}

/// What came out, in order.
#[derive(Debug, Default)]
struct Told {
    bytes: [Vec<u8>; 2],
    gaps: [Vec<(u64, u64)>; 2],
    ends: [bool; 2],
    /// A chunk came out before what its sender had received.
    acausal: bool,
    held: bool,
}

fn play(frames: &[Sent]) -> Told {
    let mut conversation = Conversation::default();
    let mut told = Told::default();
    let mut last = Timestamp(0);
    for (number, sent) in frames.iter().enumerate() {
        let packet = packet(sent, number as u64 + 1);
        last = packet.time;
        match conversation.pass(sent.way, &packet) {
            Some(place) => take_in_order(&mut told, sent.way, &packet, place),
            None => {
                conversation.push(sent.way, &packet);
            }
        }
        while let Some(piece) = conversation.next(last) {
            take(&mut told, piece);
        }
    }
    told.held = conversation.is_waiting();
    while let Some(piece) = conversation.flush(last) {
        take(&mut told, piece);
    }
    told
}

fn take_in_order(told: &mut Told, direction: Direction, packet: &Packet<'_>, place: InOrder) {
    let chunk = Chunk::of(direction, packet, place);
    if !chunk.bytes.is_empty() {
        take(told, Piece::Bytes(chunk));
    }
    if let Some(gap) = Gap::after(direction, packet, place) {
        take(told, Piece::Gap(gap));
    }
}

fn take(told: &mut Told, piece: Piece<'_>) {
    match piece {
        Piece::Bytes(chunk) => {
            let (d, e) = (chunk.direction.index(), chunk.direction.reverse().index());
            assert_eq!(
                chunk.offset,
                ORIGIN + told.bytes[d].len() as u64,
                "offsets have no holes"
            );
            told.acausal |= chunk.received > ORIGIN + told.bytes[e].len() as u64;
            told.bytes[d].extend_from_slice(chunk.bytes);
        }
        Piece::Gap(gap) => {
            let d = gap.direction.index();
            assert_eq!(gap.offset, ORIGIN + told.bytes[d].len() as u64);
            told.gaps[d].push((gap.offset, gap.bytes));
            told.bytes[d].resize(told.bytes[d].len() + gap.bytes as usize, b'?');
        }
        Piece::End(direction, _) => told.ends[direction.index()] = true,
    }
}

/// A conversation in turns: each turn's bytes are sent in pieces after the other side's were received.
fn conversation(
    turns: &[(bool, Vec<usize>)],
    isn: [u32; 2],
    close: bool,
) -> (Vec<Sent>, [Vec<u8>; 2]) {
    let mut next = isn;
    let mut bytes = [Vec::new(), Vec::new()];
    let mut frames = Vec::new();
    let mut send = |way: Direction, flags: u8, payload: Vec<u8>, next: &mut [u32; 2]| {
        let (d, e) = (way.index(), way.reverse().index());
        let ack = if flags & flag::ACK != 0 { next[e] } else { 0 };
        let seq = next[d];
        let virtual_bytes = u32::from(flags & (flag::SYN | flag::FIN) != 0);
        next[d] = seq.wrapping_add(payload.len() as u32 + virtual_bytes);
        frames.push(Sent {
            way,
            seq,
            ack,
            flags,
            payload,
            cut: 0,
        });
    };
    send(Direction::ToServer, flag::SYN, Vec::new(), &mut next);
    send(
        Direction::ToClient,
        flag::SYN | flag::ACK,
        Vec::new(),
        &mut next,
    );
    send(Direction::ToServer, flag::ACK, Vec::new(), &mut next);
    let mut value = 0u8;
    for (server, pieces) in turns {
        let way = if *server {
            Direction::ToClient
        } else {
            Direction::ToServer
        };
        for &length in pieces {
            let payload: Vec<u8> = (0..length)
                .map(|_| {
                    value = value.wrapping_mul(5).wrapping_add(17);
                    value & 0x3f
                })
                .collect();
            bytes[way.index()].extend_from_slice(&payload);
            send(way, flag::ACK, payload, &mut next);
        }
    }
    if close {
        send(
            Direction::ToServer,
            flag::FIN | flag::ACK,
            Vec::new(),
            &mut next,
        );
        send(
            Direction::ToClient,
            flag::FIN | flag::ACK,
            Vec::new(),
            &mut next,
        );
        send(Direction::ToServer, flag::ACK, Vec::new(), &mut next);
    }
    (frames, bytes)
}

fn turns() -> impl Strategy<Value = Vec<(bool, Vec<usize>)>> {
    prop::collection::vec(
        (any::<bool>(), prop::collection::vec(1usize..40, 1..4)),
        1..12,
    )
}

/// Moves each frame back by fewer places than the reordering window, duplicates some.
fn disturb(frames: &[Sent], moves: &[u8], doubles: &[bool]) -> Vec<Sent> {
    let mut keyed: Vec<(usize, Sent)> = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        let shift = usize::from(moves[index % moves.len()] % 6);
        keyed.push((index + shift, frame.clone()));
        if doubles[index % doubles.len()] {
            keyed.push((index + shift + 1, frame.clone()));
        }
    }
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, frame)| frame).collect()
}

#[test]
fn an_end_that_overtakes_its_beginning_waits_for_it() {
    let (frames, bytes) = conversation(&[(true, vec![1])], [0, 0], true);
    // SYN, acknowledgement and both FINs, and only then the server's SYN and its byte.
    let told = play(&[0, 2, 4, 5, 1, 3, 6].map(|at: usize| frames[at].clone()));
    assert_eq!(told.bytes, bytes);
    assert_eq!(told.ends, [true; 2]);
    // Alone, it ends what was never seen, once nothing can come any more.
    let mut conversation = Conversation::default();
    let fin = packet(&frames[5], 1);
    conversation.push(Direction::ToClient, &fin);
    assert!(conversation.next(fin.time).is_none() && conversation.is_waiting());
    let later = Timestamp(fin.time.0 + 200_000_001);
    let told = conversation.next(later);
    assert!(
        matches!(told, Some(Piece::End(Direction::ToClient, _))),
        "{told:?}"
    );
    assert!(!conversation.is_waiting() && conversation.flush(later).is_none());
}

proptest! {
    #[test]
    fn in_order_bytes_come_out_as_sent_without_being_held(
        turns in turns(), isn in any::<[u32; 2]>(), close in any::<bool>(),
    ) {
        let (frames, bytes) = conversation(&turns, isn, close);
        let told = play(&frames);
        prop_assert_eq!(&told.bytes, &bytes);
        prop_assert!(told.gaps.iter().all(Vec::is_empty));
        prop_assert!(!told.acausal && !told.held);
        prop_assert_eq!(told.ends, [close; 2]);
    }

    #[test]
    fn reordering_and_duplication_within_the_window_change_nothing(
        turns in turns(), isn in any::<[u32; 2]>(),
        moves in prop::collection::vec(any::<u8>(), 1..20),
        doubles in prop::collection::vec(any::<bool>(), 1..20),
    ) {
        let (frames, bytes) = conversation(&turns, isn, true);
        let told = play(&disturb(&frames, &moves, &doubles));
        prop_assert_eq!(&told.bytes, &bytes);
        prop_assert!(told.gaps.iter().all(Vec::is_empty), "{:?}", told.gaps);
        prop_assert!(!told.acausal);
        prop_assert_eq!(told.ends, [true; 2]);
    }

    #[test]
    fn overlapping_segments_change_nothing(
        turns in turns(), isn in any::<[u32; 2]>(),
        again in prop::collection::vec((0usize..40, 1usize..80, 0usize..5), 1..8),
    ) {
        let (mut frames, bytes) = conversation(&turns, isn, false);
        let base = |d: usize| isn[d].wrapping_add(1);
        // Retransmissions that cut the same bytes otherwise, sent some frames later.
        for (start, length, later) in again {
            for way in [Direction::ToServer, Direction::ToClient] {
                let all = &bytes[way.index()];
                let start = start.min(all.len());
                let end = (start + length).min(all.len());
                let past = frames.iter().rposition(|frame| {
                    frame.way == way && ahead(base(way.index()).wrapping_add(end as u32), frame.seq)
                });
                let Some(past) = past else { continue };
                let ack = frames[past].ack;
                let seq = base(way.index()).wrapping_add(start as u32);
                let payload = all[start..end].to_vec();
                let sent = Sent { way, seq, ack, flags: flag::ACK, payload, cut: 0 };
                if start < end && frames[past].flags & flag::SYN == 0 {
                    frames.insert((past + 1 + later).min(frames.len()), sent);
                }
            }
        }
        let told = play(&frames);
        prop_assert_eq!(&told.bytes, &bytes);
        prop_assert!(told.gaps.iter().all(Vec::is_empty));
    }

    #[test]
    fn what_is_lost_is_told_and_the_rest_is_in_place(
        turns in turns(), isn in any::<[u32; 2]>(),
        losses in prop::collection::vec(any::<bool>(), 8..60),
    ) {
        let (frames, bytes) = conversation(&turns, isn, true);
        let kept: Vec<Sent> = frames
            .iter()
            .enumerate()
            .filter(|(index, _)| *index < 3 || !losses[index % losses.len()])
            .map(|(_, frame)| frame.clone())
            .collect();
        let told = play(&kept);
        prop_assert!(!told.acausal);
        for (d, bytes) in bytes.iter().enumerate() {
            // Whatever came out stands where it was sent, and only gaps differ.
            prop_assert!(told.bytes[d].len() <= bytes.len());
            for (index, (&got, &want)) in told.bytes[d].iter().zip(bytes).enumerate() {
                prop_assert!(got == want || got == b'?', "{index}");
            }
            let survived: usize = kept
                .iter().filter(|frame| frame.way.index() == d).map(|frame| frame.payload.len()).sum();
            let missing: u64 = told.gaps[d].iter().map(|gap| gap.1).sum();
            prop_assert_eq!(told.bytes[d].len() as u64 - missing, survived as u64);
        }
    }

    #[test]
    fn cut_segments_leave_gaps_of_known_length(
        turns in turns(), isn in any::<[u32; 2]>(), snap in 1usize..30,
    ) {
        let (mut frames, bytes) = conversation(&turns, isn, false);
        for frame in &mut frames {
            frame.cut = frame.payload.len().saturating_sub(snap);
        }
        let told = play(&frames);
        prop_assert_eq!(told.bytes.clone().map(|all| all.len()), bytes.clone().map(|all| all.len()));
        prop_assert!(!told.held);
    }

    #[test]
    fn arbitrary_segments_neither_panic_nor_pile_up(
        segments in prop::collection::vec(
            (any::<bool>(), any::<u32>(), any::<u32>(), any::<u8>(), 0usize..50, 0usize..50), 1..200),
    ) {
        let frames: Vec<Sent> = segments
            .into_iter()
            .map(|(server, seq, ack, flags, length, cut)| Sent {
                way: if server { Direction::ToClient } else { Direction::ToServer },
                // Near each other, so that they interact.
                seq: seq % 300,
                ack: ack % 300,
                flags,
                payload: vec![b'x'; length],
                cut: cut.min(length),
            })
            .collect();
        let mut conversation = Conversation::default();
        for (number, sent) in frames.iter().enumerate() {
            let packet = packet(sent, number as u64);
            conversation.push(sent.way, &packet);
            let mut turns = 0;
            while conversation.next(packet.time).is_some() {
                turns += 1;
                prop_assert!(turns < 10_000);
            }
            prop_assert!(conversation.held_bytes() <= 50 * (1 + limits::HELD_OVERHEAD) * frames.len());
        }
        let mut turns = 0;
        while conversation.flush(Timestamp(u64::MAX)).is_some() {
            turns += 1;
            prop_assert!(turns < 10_000);
        }
        prop_assert!(!conversation.is_waiting());
    }
}

#[test]
fn a_response_to_a_lost_request_waits_until_the_loss_is_certain() {
    let (frames, _) = conversation(&[(false, vec![10]), (true, vec![5])], [100, 200], false);
    let mut kept = frames.clone();
    kept.remove(3);
    let told = play(&kept);
    assert_eq!(told.gaps[0], [(ORIGIN, 10)]);
    assert_eq!(told.bytes[1].len(), 5);
    assert!(
        told.held,
        "the loss is told only once the window has passed"
    );
}

/// A server closes, and the client goes on: nothing is missing, and nothing is waited for. In whichever order FIN and
/// bytes are seen, and with the handshake or without.
#[test]
fn an_acknowledged_fin_is_no_byte() {
    let (mut frames, mut bytes) =
        conversation(&[(false, vec![10]), (true, vec![5])], [100, 200], false);
    let sent = |way, seq, ack, flags, length| Sent {
        way,
        seq,
        ack,
        flags,
        payload: vec![7; length],
        cut: 0,
    };
    let fin = flag::FIN | flag::ACK;
    frames.push(sent(Direction::ToClient, 206, 111, fin, 0));
    frames.push(sent(Direction::ToServer, 111, 207, flag::ACK, 20));
    frames.push(sent(Direction::ToServer, 131, 207, flag::ACK, 20));
    bytes[0].extend([7; 40]);
    let mut swapped = frames.clone();
    swapped.swap(5, 6);
    for frames in [frames, swapped] {
        let (told, joined) = (play(&frames), play(&frames[3..]));
        // Where a conversation that is joined begins is known after a while only.
        assert!(!told.held && joined.held);
        for told in [told, joined] {
            assert_eq!(told.gaps, [[], []]);
            assert!(told.bytes == bytes && told.ends[1] && !told.acausal);
        }
    }
}

#[test]
fn what_a_sender_has_on_its_way_is_held_until_the_hole_is_retransmitted() {
    // A burst was dropped, and 6 MiB followed it before the sender sent it again.
    let pieces = vec![1448; (6 << 20) / 1448];
    let (mut frames, bytes) = conversation(&[(false, pieces)], [100, 200], false);
    let lost: Vec<Sent> = frames.drain(10..32).collect();
    frames.extend(lost);
    let told = play(&frames);
    assert_eq!(told.gaps[0], []);
    assert!(told.bytes == bytes);
    assert!(!told.held);
}

#[test]
fn what_is_more_than_a_sender_can_have_on_its_way_is_not_waited_for() {
    let most = limits::HELD_BYTES_PER_STREAM + 2 * limits::HELD_SEGMENTS * limits::HELD_OVERHEAD;
    for length in [1usize, 1448, 60_000] {
        let pieces = vec![length; (most / length).min(limits::HELD_SEGMENTS + 10)];
        let (mut frames, _) = conversation(&[(false, pieces)], [100, 200], false);
        frames.remove(5);
        let mut conversation = Conversation::default();
        let mut gaps = 0;
        for (number, sent) in frames.iter().enumerate() {
            let packet = packet(sent, number as u64);
            if conversation.pass(sent.way, &packet).is_none() {
                conversation.push(sent.way, &packet);
            }
            while let Some(piece) = conversation.next(packet.time) {
                gaps += usize::from(matches!(piece, Piece::Gap(_)));
            }
            let bound = limits::HELD_BYTES_PER_STREAM + length + limits::HELD_OVERHEAD;
            assert!(conversation.held_bytes() <= bound);
        }
        assert_eq!(gaps, 1, "{length}");
    }
}

#[test]
fn a_keepalive_and_a_retransmission_are_told_apart() {
    let (frames, _) = conversation(&[(false, vec![10])], [100, 200], false);
    let mut conversation = Conversation::default();
    for (number, sent) in frames.iter().enumerate() {
        conversation.push(sent.way, &packet(sent, number as u64));
    }
    let time = std::cell::Cell::new(9);
    let seen = |conversation: &mut Conversation, seq: u32, payload: &[u8], interface: u32| {
        let sent = Sent {
            way: Direction::ToServer,
            seq,
            ack: 201,
            flags: flag::ACK,
            payload: payload.to_vec(),
            cut: 0,
        };
        let packet = Packet {
            interface,
            ..packet(&sent, time.get())
        };
        match conversation.pass(sent.way, &packet) {
            Some(_) => Seen::New,
            None => conversation.push(sent.way, &packet),
        }
    };
    assert_eq!(seen(&mut conversation, 110, b"x", 0), Seen::KeepAlive);
    assert_eq!(
        seen(&mut conversation, 101, b"0123456789", 0),
        Seen::Retransmission
    );
    assert_eq!(seen(&mut conversation, 101, b"0123456789", 7), Seen::Copy);
    // Long after the bytes were new, one retransmission crosses two interfaces.
    time.set(1_000_000);
    assert_eq!(
        seen(&mut conversation, 101, b"0123456789", 0),
        Seen::Retransmission
    );
    time.set(1_000_001);
    assert_eq!(seen(&mut conversation, 101, b"0123456789", 7), Seen::Copy);
}

#[test]
fn a_new_syn_on_the_same_addresses_is_a_new_conversation() {
    let (frames, _) = conversation(&[(false, vec![10])], [100, 200], true);
    let mut conversation = Conversation::default();
    for (number, sent) in frames.iter().enumerate() {
        let packet = packet(sent, number as u64);
        assert!(!conversation.is_replaced_by(sent.way, &packet));
        conversation.push(sent.way, &packet);
        while conversation.next(packet.time).is_some() {}
    }
    assert!(conversation.is_closed() && conversation.is_whole());
    let again = Sent {
        seq: 5000,
        ..frames[0].clone()
    };
    assert!(conversation.is_replaced_by(Direction::ToServer, &packet(&again, 99)));
}

#[test]
fn a_reset_ends_both_directions_after_what_is_held() {
    let (mut frames, bytes) =
        conversation(&[(false, vec![10, 10]), (true, vec![3])], [1, 2], false);
    frames.swap(3, 4);
    let last = frames.len();
    let reset = Sent {
        flags: flag::RST | flag::ACK,
        payload: Vec::new(),
        ..frames[last - 1].clone()
    };
    frames.push(reset);
    let told = play(&frames);
    assert_eq!(told.bytes, bytes);
    assert_eq!(told.ends, [true; 2]);
}
