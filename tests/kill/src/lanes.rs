//! Operations on a lane of the core, in memory that the subject and the survivor share: records and items.

use std::sync::atomic::{AtomicU32, Ordering};

use smstream_core::error::ReadError;
use smstream_core::geometry::{self, Config};
use smstream_core::items::{ItemReader, ItemWriter};
use smstream_core::lane::Producer;
use smstream_core::park::{ALERT_GONE, Never, Park, Spin, Wake, Watch};
use smstream_core::record::{RecordReader, RecordWriter, RecvError};
use smstream_core::stream::End;
use smstream_core::word::SharedWord;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::cue::{Cue, Ending};
use crate::exchange::pattern;
use crate::operation::{Memory, Operation, Rig, Survivor};

const LANE: u32 = 1024;
/// Where cursors begin: 52 bytes before both ends.
const CHANNEL: Config = Config { start: (1 << 31) - 52, ..Config::new([LANE, LANE]) };
/// The bytes of a record, and of all items of an operation together.
const RECORD: usize = 240;

/// An item of plain data.
#[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Sample {
    at: u32,
    value: i16,
    channel: u16,
    text: [u8; 72],
}

/// The item of this number.
fn sample(n: u32) -> Sample {
    let mut text = [0; 72];
    text.copy_from_slice(pattern(n as usize, 72));
    Sample { at: n, value: -2, channel: n as u16, text }
}

/// What a subject does with a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLane {
    Send,
    Claim,
    Grant,
    Recv,
    ReadGrant,
    Push,
    Pop,
}

impl OnLane {
    pub const ALL: [OnLane; 7] =
        [OnLane::Send, OnLane::Claim, OnLane::Grant, OnLane::Recv, OnLane::ReadGrant, OnLane::Push, OnLane::Pop];
}

/// How the survivor waits: it looks again and again, until it has heard of the subject's death.
struct Mortal<'a> {
    alert: &'a AtomicU32,
}

impl Park for Mortal<'_> {
    type Deadline = Never;
    type Spin = ();
    const SLEEPS: bool = false;

    fn spin_start(&self) {}
    fn spin(&self, (): &mut ()) -> bool {
        false
    }
    fn wait(&self, _: &[Watch<'_>], _: Option<Never>) -> Wake {
        std::thread::yield_now();
        Wake::Maybe
    }
    fn wake(&self, _: SharedWord<'_>, _: u32) {}
    fn alert(&self) -> Option<SharedWord<'_>> {
        Some(SharedWord::new(self.alert))
    }
}

/// The end of a party in the shared memory. The caller makes no other of the same party meanwhile.
fn attach<'m, P: Park>(memory: &'m Memory, party: usize, parks: [P; 2]) -> End<'m, P> {
    let half = Memory::LEN / 2;
    let [mine, peer] = [party, 1 - party].map(|p| memory.start().wrapping_add(p * half));
    // SAFETY: the memory lives as long as the end, and each process has one party's end in it. It is a mapping of their parent's
    // that cannot be shortened.
    let attached = unsafe { geometry::attach(mine, half, peer, half) };
    let [write, read] = parks;
    attached.expect("it was set up").into_end(write, read)
}

/// Sets both segments up anew.
fn set_up(memory: &Memory) {
    let half = Memory::LEN / 2;
    for party in 0..2 {
        // SAFETY: no end is attached: the last subject has ended, and the next one has not begun.
        let done = unsafe { geometry::init(memory.start().wrapping_add(party * half), half, &CHANNEL, party) };
        done.expect("a configuration that is right");
    }
}

impl Operation for OnLane {
    fn name(&self) -> String {
        match self {
            OnLane::Send => "record: send, wrapping",
            OnLane::Claim => "record: claim and commit, wrapping",
            OnLane::Grant => "record: grant, with padding before it, and commit",
            OnLane::Recv => "record: receive, wrapping",
            OnLane::ReadGrant => "record: grant for reading, and release",
            OnLane::Push => "items: push three, wrapping",
            OnLane::Pop => "items: pop one, wrapping",
        }
        .into()
    }

    fn after_a_kill(&self) -> &'static [&'static str] {
        match self {
            OnLane::Push => &["0 items, `PeerGone`", "3 items, `PeerGone`"],
            OnLane::Pop => &["240 bytes unread, `PeerGone`", "160 bytes unread, `PeerGone`"],
            OnLane::Recv | OnLane::ReadGrant => &["244 bytes unread, `PeerGone`", "0 bytes unread, `PeerGone`"],
            // A claim and a grant that are not committed leave the lane as it was.
            _ => &["0 records, `PeerGone`", "1 records, `PeerGone`"],
        }
    }

    fn whole(&self) -> &'static str {
        match self {
            OnLane::Push => "3 items, end",
            OnLane::Pop => "160 bytes unread, end",
            OnLane::Recv | OnLane::ReadGrant => "0 bytes unread, end",
            _ => "1 records, end",
        }
    }

    fn subject(&self, rig: &Rig, mark: &dyn Fn()) {
        let (consumer, producer) = attach(rig.memory(), 1, [Spin, Spin]).split();
        let record = pattern(0, RECORD);
        let mut writer = RecordWriter::new(producer);
        let mut reader = RecordReader::new(consumer);
        match self {
            OnLane::Send => {
                mark();
                writer.send(record).expect("there is room");
                mark();
            }
            OnLane::Claim => {
                mark();
                let mut claim = writer.claim(RECORD + 8).expect("there is room");
                claim.write(record);
                claim.commit_filled().expect("it was claimed");
                mark();
            }
            OnLane::Grant => {
                mark();
                let mut grant = writer.grant_exact(RECORD).expect("there is room");
                grant.put(0, record);
                writer.commit(grant, RECORD).expect("it was granted");
                mark();
            }
            OnLane::Recv => {
                let mut bytes = [0; RECORD];
                mark();
                assert_eq!(reader.recv(&mut bytes), Ok(Some(RECORD)));
                mark();
                assert_eq!(bytes[..], *record);
            }
            OnLane::ReadGrant => {
                mark();
                let grant = reader.grant().expect("there is one").expect("there is one");
                reader.release(grant).expect("it was granted");
                mark();
            }
            OnLane::Push | OnLane::Pop => return self.with_items(writer, reader, mark),
        }
        writer.finish();
        reader.stop();
    }

    fn survivor<'r>(&self, rig: &'r Rig) -> Box<dyn Survivor + 'r> {
        Box::new(OtherEnd { operation: *self, memory: rig.memory() })
    }
}

impl OnLane {
    fn with_items<P: Park>(self, writer: RecordWriter<'_, P>, reader: RecordReader<'_, P>, mark: &dyn Fn()) {
        let producer = writer.into_producer().ok().expect("no grant is out");
        let consumer = reader.into_consumer().ok().expect("no grant is out");
        let mut writer = ItemWriter::<Sample, _>::new(producer).expect("they fit");
        let mut reader = ItemReader::<Sample, _>::new(consumer).expect("they fit");
        if self == OnLane::Push {
            let items = [0, 1, 2].map(sample);
            mark();
            assert_eq!(writer.push_slice(&items), Ok(3));
            mark();
        } else {
            mark();
            let item = reader.pop();
            mark();
            assert_eq!(item, Ok(Some(sample(0))));
        }
        writer.into_producer().finish();
        reader.into_consumer().stop();
    }
}

/// The survivor's end of the lanes.
struct OtherEnd<'r> {
    operation: OnLane,
    memory: &'r Memory,
}

impl Survivor for OtherEnd<'_> {
    fn round(&mut self, cue: &mut Cue<'_>) -> String {
        set_up(self.memory);
        let alert = AtomicU32::new(0);
        let end = attach(self.memory, 0, [Mortal { alert: &alert }, Mortal { alert: &alert }]);
        let (consumer, producer) = end.split();
        let (writer, reader) = (RecordWriter::new(producer), RecordReader::new(consumer));
        match self.operation {
            OnLane::Push | OnLane::Pop => {
                let producer = writer.into_producer().ok().expect("no grant is out");
                let consumer = reader.into_consumer().ok().expect("no grant is out");
                let writer = ItemWriter::<Sample, _>::new(producer).expect("they fit");
                let reader = ItemReader::<Sample, _>::new(consumer).expect("they fit");
                self.items(writer, reader, &alert, cue)
            }
            _ => self.records(writer, reader, &alert, cue),
        }
    }
}

/// The subject begins, and ends.
fn end_of_subject(alert: &AtomicU32, cue: &mut Cue<'_>) {
    cue.ready();
    cue.marked();
    cue.set();
    if cue.end() == Ending::Killed {
        alert.store(ALERT_GONE, Ordering::Release);
    }
}

impl OtherEnd<'_> {
    fn records<'a>(
        &self,
        mut writer: RecordWriter<'_, Mortal<'a>>,
        mut reader: RecordReader<'_, Mortal<'a>>,
        alert: &AtomicU32,
        cue: &mut Cue<'_>,
    ) -> String {
        let record = pattern(0, RECORD);
        let reads = matches!(self.operation, OnLane::Recv | OnLane::ReadGrant);
        if reads {
            writer.send(record).expect("there is room");
        }
        end_of_subject(alert, cue);
        let (mut bytes, mut records) = ([0; RECORD], 0);
        let end = loop {
            match reader.recv(&mut bytes) {
                Ok(None) => break "end",
                Ok(Some(len)) => {
                    assert_eq!(bytes[..len], *record, "a record is whole");
                    records += 1;
                }
                Err(RecvError::PeerGone) => break "`PeerGone`",
                Err(e) => panic!("a reader of records: {e}"),
            }
        };
        if reads { unread(writer.into_producer().ok(), end) } else { format!("{records} records, {end}") }
    }

    fn items<'a>(
        &self,
        mut writer: ItemWriter<'_, Sample, Mortal<'a>>,
        mut reader: ItemReader<'_, Sample, Mortal<'a>>,
        alert: &AtomicU32,
        cue: &mut Cue<'_>,
    ) -> String {
        if self.operation == OnLane::Pop {
            assert_eq!(writer.push_slice(&[0, 1, 2].map(sample)), Ok(3));
        }
        end_of_subject(alert, cue);
        let mut items = 0;
        let end = loop {
            match reader.pop() {
                Ok(None) => break "end",
                Ok(Some(item)) => {
                    assert_eq!(item, sample(items), "an item is whole");
                    items += 1;
                }
                Err(ReadError::PeerGone) => break "`PeerGone`",
                Err(e) => panic!("a reader of items: {e}"),
            }
        };
        match self.operation {
            OnLane::Pop => unread(Some(writer.into_producer()), end),
            _ => format!("{items} items, {end}"),
        }
    }
}

/// What the subject has not read.
fn unread<P: Park>(producer: Option<Producer<'_, P>>, end: &str) -> String {
    let left = producer.expect("no grant is out").undelivered().expect("the subject takes no more");
    format!("{left} bytes unread, {end}")
}
