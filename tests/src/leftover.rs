//! What lies under a name, and whether a cleaner may take it: files that are dead regions, or nearly.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use smstream::reap::{ReapOutcome, Reaper};
use smstream::{Builder, Stream};
use smstream_core::cursor::MAX_CAPACITY;
use smstream_core::layout::{FIELDS, Features, HEADER_LEN, MAGIC};

/// The bytes of each lane of the regions here.
pub const CAPACITY: usize = 4096;

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Any bytes.
    Bytes(Vec<u8>),
    /// The magic, and any bytes behind it.
    Magic(Vec<u8>),
    /// A dead region, and what was done to it.
    Region(Vec<Change>),
    /// The bytes of a region, in another file.
    Copy,
}

/// A change of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A byte gets this value.
    Byte(usize, u8),
    /// A bit of the header of a segment is turned.
    Bit {
        /// Of the connector's segment.
        second: bool,
        /// Which bit.
        bit: usize,
    },
    /// A word of the header of a segment gets this value.
    Word {
        /// Of the connector's segment.
        second: bool,
        /// Which word.
        word: usize,
        /// The value.
        value: u32,
    },
    /// The connector's header is 0 from this word on, or before it.
    Cut {
        /// Which word.
        word: usize,
        /// The words before it are 0, and not those behind it.
        before: bool,
    },
    /// The file is shorter or longer by so many bytes.
    Length(i16),
}

/// The directory of one trial, which goes in the end.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// A new one.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // In memory, where there is some.
        let parent = Some(PathBuf::from("/dev/shm")).filter(|path| path.is_dir()).unwrap_or_else(std::env::temp_dir);
        let path = parent.join(format!("smstream-leftover-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a directory");
        Directory(path)
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What a cleaner says of a file in it; `None`: nothing.
    pub fn reap(&self, name: &str) -> Option<ReapOutcome> {
        let found = Reaper::of(&self.0).run().expect("the directory can be read");
        let path = smstream::reap::Location::File(self.path(name));
        found.into_iter().find(|leftover| leftover.location == path).map(|leftover| leftover.outcome)
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The bytes of a region whose listener waits.
pub fn region() -> &'static [u8] {
    static REGION: OnceLock<Vec<u8>> = OnceLock::new();
    REGION.get_or_init(|| {
        let place = Directory::new();
        let path = place.path("region");
        let _listener = builder().bind(&path).expect("a listener");
        fs::read(&path).expect("its region")
    })
}

fn builder() -> Builder {
    Builder::new().capacity(CAPACITY)
}

/// Where the connector's segment begins.
pub fn second() -> usize {
    let word = |name: &str| word_at(region(), offset(name)) as usize;
    (word("lane_offset") + word("capacity")).next_multiple_of(word("align"))
}

fn offset(name: &str) -> usize {
    FIELDS.iter().find(|field| field.name == name).expect("a field").offset
}

fn word_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Makes a file. Returns whether it is a dead region, by the words of `LAYOUT.md`.
pub fn make(path: &Path, content: &Content) -> io::Result<bool> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let inode = file.metadata()?.ino();
    let (bytes, dead) = match content {
        Content::Bytes(bytes) => (bytes.clone(), false),
        Content::Magic(bytes) => ([&MAGIC[..], bytes].concat(), false),
        Content::Copy => (region().to_vec(), false),
        Content::Region(changes) => {
            let sound = sound(inode);
            let mut bytes = sound.clone();
            for change in changes {
                apply(change, &mut bytes);
            }
            let dead = is_dead(&sound, &bytes);
            (bytes, dead)
        }
    };
    file.write_all(&bytes)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(dead)
}

/// A region that its listener left in the file with this number.
fn sound(inode: u64) -> Vec<u8> {
    let mut bytes = region().to_vec();
    for base in [0, second()] {
        let at = base + offset("channel");
        bytes[at..at + 4].copy_from_slice(&(inode as u32).to_ne_bytes());
        bytes[at + 4..at + 8].copy_from_slice(&((inode >> 32) as u32).to_ne_bytes());
    }
    bytes
}

fn apply(change: &Change, bytes: &mut Vec<u8>) {
    let header = HEADER_LEN as usize;
    let base = |is_second: bool| if is_second { second() } else { 0 };
    match *change {
        Change::Byte(at, value) => {
            let len = bytes.len();
            if let Some(byte) = bytes.get_mut(at % len.max(1)) {
                *byte = value;
            }
        }
        Change::Bit { second, bit } => {
            if let Some(byte) = bytes.get_mut(base(second) + bit / 8 % header) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Change::Word { second, word, value } => {
            let at = base(second) + 4 * (word % (header / 4));
            if let Some(found) = bytes.get_mut(at..at + 4) {
                found.copy_from_slice(&value.to_ne_bytes());
            }
        }
        Change::Cut { word, before } => {
            let (start, at) = (second(), second() + 4 * (word % (header / 4)));
            let range = if before { start..at } else { at..start + header };
            if let Some(found) = bytes.get_mut(range) {
                found.fill(0);
            }
        }
        Change::Length(more) => {
            let len = bytes.len().saturating_add_signed(more.into());
            bytes.resize(len, 0);
        }
    }
}

/// Whether the bytes are those of a dead region, where `sound` are those that its listener made: the process and the time
/// may be any, and the features that may be ignored; and what a listener chooses, if all else fits that; the connector's segment may be there in part, as long as its version is not.
fn is_dead(sound: &[u8], bytes: &[u8]) -> bool {
    if sound.len() != bytes.len() {
        return false;
    }
    let header = HEADER_LEN as usize;
    let mut sound = sound.to_vec();
    let start = word_at(bytes, offset("start"));
    if start < 1 << 31 {
        // Where the cursors begin is up to the listener.
        for at in
            [0, second()].into_iter().flat_map(|base| ["start", "sent", "received"].map(|name| base + offset(name)))
        {
            sound[at..at + 4].copy_from_slice(&start.to_ne_bytes());
        }
    }
    // So is the shape of its lane, if the connector's segment lies where it did: P3, A8 to A10.
    let [align, lane_offset, capacity] = ["align", "lane_offset", "capacity"].map(|name| word_at(bytes, offset(name)));
    let may_be = align.is_power_of_two()
        && (align as usize).is_multiple_of(rustix::param::page_size())
        && lane_offset.is_multiple_of(128)
        && (HEADER_LEN..=HEADER_LEN.next_multiple_of(align)).contains(&lane_offset)
        && capacity.is_power_of_two()
        && capacity <= MAX_CAPACITY
        && u64::from(lane_offset + capacity).next_multiple_of(align.into()) == second() as u64
        // With another alignment the length fits only where the connector has said so.
        && (align == word_at(&sound, offset("align")) || word_at(bytes, second() + offset("lane_offset")) != 0);
    if may_be {
        for (at, value) in [
            (offset("align"), align),
            (offset("lane_offset"), lane_offset),
            (offset("capacity"), capacity),
            (second() + offset("align"), align),
            (second() + offset("peer_capacity"), capacity),
        ] {
            sound[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
    }
    let is_free = |at: usize| (offset("pid")..offset("made") + 8).contains(&at);
    let begun = word_at(bytes, second() + offset("version")) == 0;
    (0..bytes.len()).step_by(4).all(|at| {
        let (found, wanted) = (word_at(bytes, at), word_at(&sound, at));
        let (is_second, word) = (at >= second(), if at >= second() { at - second() } else { at });
        if word >= header {
            return found == wanted;
        }
        let channel = offset("channel")..offset("channel") + 8;
        found == wanted
            || is_free(word)
            || (word == offset("features") && found & !Features::all().bits() == 0)
            || (is_second && begun && found == 0)
            || (is_second && channel.contains(&word) && found == 0)
            || (is_second && word == offset("state") && found <= 1)
    })
}

/// Puts the content under a name and lets a listener, a connector and a cleaner come by. A file that is no dead region must be
/// what it was; one that is must make way.
///
/// # Panics
/// If that is not so.
pub fn try_all(content: &Content) {
    try_name(content);
    try_new(content);
    overwrite_a_listening(content);
}

/// The same for those who look at the name itself.
///
/// # Panics
/// If a file that is no dead region is not what it was, or one that is does not make way.
pub fn try_name(content: &Content) {
    let place = Directory::new();
    let path = place.path("name");
    let dead = make(&path, content).expect("a file");
    let before = Look::at(&path);
    connect(&path);
    assert_eq!(Look::at(&path), before, "a connector changed {content:?}");
    if dead {
        in_the_end(|| place.reap("name") == Some(ReapOutcome::Removed), "a dead region is removed");
        assert!(!path.exists());
        make(&path, content).expect("a file");
        let listener = builder().bind(&path).unwrap_or_else(|e| panic!("a dead region is taken over, but: {e}"));
        listener.close().expect("the name goes");
        assert!(!path.exists());
        return;
    }
    let verdict = place.reap("name");
    assert!(matches!(verdict, None | Some(ReapOutcome::Doubt(_))), "{content:?}: {verdict:?}");
    assert_eq!(Look::at(&path), before, "a cleaner changed {content:?}");
    let e = builder().bind(&path).expect_err("a name that something else has");
    assert!(e.to_string().contains("left alone"), "{e}");
    assert_eq!(Look::at(&path), before, "a listener changed {content:?}");
}

/// The content has the name by which a region gets to that of a living listener.
fn try_new(content: &Content) {
    let place = Directory::new();
    let (other, new) = (place.path("other"), place.path("other.new"));
    let dead = make(&new, content).expect("a file");
    let before = Look::at(&new);
    let listener = builder().bind(&other).expect("a listener");
    std::thread::scope(|scope| {
        let connector = scope.spawn(|| Stream::connect(&other));
        let deadline = Instant::now() + Duration::from_secs(10);
        let e = loop {
            match listener.accept_timeout(Duration::from_secs(10)) {
                Ok(_) if dead => return assert!(!new.exists(), "a dead region makes way"),
                Ok(_) => assert!(Instant::now() < deadline, "accepting replaced {content:?}"),
                Err(e) => break e,
            }
        };
        assert!(e.to_string().contains("other.new"), "{e}");
        assert_eq!(Look::at(&new), before, "accepting changed {content:?}");
        drop(listener);
        let _ = connector.join();
    });
}

/// The region of a living listener is written over; then the listener goes. (The file is not shortened, which would be a
/// SIGBUS.)
fn overwrite_a_listening(content: &Content) {
    let place = Directory::new();
    let path = place.path("mine");
    let listener = builder().bind(&path).expect("a listener");
    let sound = fs::read(&path).expect("a region");
    let mut bytes = sound.clone();
    let header = HEADER_LEN as usize;
    match content {
        Content::Bytes(over) => bytes[..over.len().min(header)].copy_from_slice(&over[..over.len().min(header)]),
        Content::Magic(over) => {
            bytes[..8].copy_from_slice(&MAGIC);
            bytes[8..8 + over.len().min(header - 8)].copy_from_slice(&over[..over.len().min(header - 8)]);
        }
        Content::Region(changes) => changes.iter().for_each(|change| apply(change, &mut bytes)),
        Content::Copy => bytes.copy_from_slice(region()),
    }
    bytes.resize(sound.len(), 0);
    File::options().write(true).open(&path).expect("a file").write_all_at(&bytes, 0).expect("written");
    let before = Look::at(&path);
    let result = listener.close();
    if is_listeners(&sound, &bytes) {
        result.expect("the name of its own region goes");
        assert!(!path.exists());
    } else {
        let e = result.expect_err("the name is kept");
        assert!(e.to_string().contains("left alone"), "{e}");
        assert_eq!(Look::at(&path), before, "a listener that goes changed {content:?}");
    }
}

/// Whether the listener's header is one that it may have made. A connector may have written anything behind it.
fn is_listeners(sound: &[u8], bytes: &[u8]) -> bool {
    // Where the connector's lane begins decides how long the file is.
    let mut bytes = bytes.to_vec();
    let lane = second() + offset("lane_offset");
    let rest = HEADER_LEN as usize;
    bytes[rest..lane].copy_from_slice(&sound[rest..lane]);
    bytes[lane..].copy_from_slice(&sound[lane..]);
    is_dead(sound, &bytes)
}

fn connect(path: &Path) {
    Builder::new().connect_timeout(path, Duration::ZERO).expect_err("no listener lives");
}

/// What there is to be seen of a file.
#[derive(PartialEq, Eq)]
struct Look {
    inode: u64,
    modified: i64,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "inode {}, {} bytes", self.inode, self.bytes.len())
    }
}

impl Look {
    fn at(path: &Path) -> Self {
        let meta = fs::symlink_metadata(path).expect("it is there");
        Look { inode: meta.ino(), modified: meta.mtime_nsec(), bytes: fs::read(path).expect("it can be read") }
    }
}

fn in_the_end(mut is: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
