//! Address space that is set aside, to map into later.

use crate::explain::explain;
use crate::fork_lock::ForkLock;
use crate::memory::{self, Access, SharedMemory, page_size, round_up_to_page};
use rustix::fd::AsFd;
use rustix::mm::{MapFlags, ProtFlags};
use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::ptr::{self, NonNull};

/// A range of addresses that belongs to this value, with nothing in it: touching it kills. Memory is mapped into parts
/// of it.
///
/// Cedar's `VMReserve`: a garbage collector, an allocator or a runtime decides where memory may come to lie, and no other
/// part of the process maps anything there in between. What is mapped can be [given back](PlacedMapping::give_back): then the
/// addresses are empty again, and still reserved. It uses no memory, only addresses.
///
/// What is placed in it borrows it, so that it cannot be gone first:
///
/// ```compile_fail,E0505
/// # use smstream_shm::{AddressRange, memory::{Access, memfd}};
/// let range = AddressRange::new(1 << 20)?;
/// let placed = range.map(0, memfd("example", 4096)?, 0, 4096, Access::ReadWrite)?;
/// drop(range);
/// println!("{placed:?}");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// ```
/// use smstream_shm::AddressRange;
/// use smstream_shm::memory::{Access, SharedMemory, memfd};
///
/// let range = AddressRange::new(1 << 30)?;
/// let file = memfd("example", 4096)?;
/// let one = range.map(0, &file, 0, 4096, Access::ReadWrite)?;
/// let other = range.map(1 << 20, &file, 0, 4096, Access::ReadOnly)?;
/// one.copy_in(0, b"the same memory at two places")?;
/// assert_eq!(other.load_u32(0), one.load_u32(0));
/// one.give_back()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # References
/// [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html), `MAP_NORESERVE` and `MAP_FIXED`
#[derive(Debug)]
pub struct AddressRange {
    start: NonNull<u8>,
    len: usize,
    /// The parts that are in use, as offsets.
    used: ForkLock<Vec<Range<usize>>>,
}

// SAFETY: it owns a range of addresses of the process, which belongs to no thread; the list of parts has a lock.
unsafe impl Send for AddressRange {}
// SAFETY: as above. `&AddressRange` changes mappings in ranges only that it has taken from the list for the caller
// alone.
unsafe impl Sync for AddressRange {}

impl AddressRange {
    /// Reserves at least `len` bytes: whole pages. It does not block.
    ///
    /// # Errors
    /// `InvalidInput` for 0 bytes, `OutOfMemory` when there are not so many addresses (`RLIMIT_AS`, `ulimit -v`, sets a
    /// limit), or what else the system says.
    pub fn new(len: usize) -> io::Result<Self> {
        if len == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an address range must have at least one byte"));
        }
        let what = || format!("cannot reserve {len} bytes of address space; RLIMIT_AS (`ulimit -v`) limits it");
        let len = round_up_to_page(len).ok_or_else(|| explain(io::ErrorKind::OutOfMemory, what()))?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: the hint is null and MAP_FIXED is not given, so the kernel chooses a range that is not in use and no
        // other mapping changes.
        let start = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), flags) };
        let start = start.map_err(|e| explain(e, what()))?;
        let start = NonNull::new(start.cast()).ok_or_else(|| explain(io::ErrorKind::OutOfMemory, what()))?;
        Ok(Self { start, len, used: ForkLock::new(Vec::new()) })
    }

    /// Where it begins. To reckon with: only what is placed there may be touched.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    /// How many bytes it has.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Maps `len` bytes of a file, a memfd or a [`SharedObject`](crate::posix::SharedObject), from `offset` on, at `at`
    /// bytes from the start of the address range. Both must be multiples of the page size; all of the last page is taken.
    ///
    /// # Errors
    /// `InvalidInput` for what is empty, unaligned or not inside, `AddrInUse` when something is placed there,
    /// `UnexpectedEof` for a file that is too short, or what else the system says.
    pub fn map(
        &self,
        at: usize,
        fd: impl AsFd,
        offset: u64,
        len: usize,
        access: Access,
    ) -> io::Result<PlacedMapping<'_>> {
        let place = |start: NonNull<u8>| {
            // SAFETY: the range that `place` is called with is a part of the address range that was given to this call
            // alone: whole pages, at least `len` bytes, and no thread uses what is mapped there, because nothing is.
            unsafe { memory::map_at(start, fd, offset, len, access) }
        };
        // SAFETY: if `map_at` succeeds the memory is mapped with this access, `len` bytes of a file that has them.
        unsafe { self.place(at, len, access, place) }
    }

    /// Attaches a System V segment, all of it, at `at` bytes from the start of the address range, which must be a
    /// multiple of the page size. It counts as attached until the guard is gone.
    ///
    /// ```
    /// use smstream_shm::AddressRange;
    /// use smstream_shm::memory::{Access, SharedMemory};
    /// use smstream_shm::sysv::{Key, Shm};
    ///
    /// let range = AddressRange::new(1 << 20)?;
    /// let segment = Shm::create(Key::PRIVATE, 4096)?;
    /// let placed = range.attach(4096, &segment, Access::ReadWrite)?;
    /// segment.remove()?; // No other process can find it now; it stays as long as it is attached.
    /// placed.copy_in(0, b"where I want it")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` and `AddrInUse` as for [`map`](Self::map), or what
    /// [`Shm::attach_at`](crate::sysv::Shm::attach_at) returns.
    ///
    /// # References
    /// [shmat(2)](https://man7.org/linux/man-pages/man2/shmop.2.html), `SHM_REMAP`; Cedar `VMReserve` and `ShmAt`
    #[cfg(feature = "sysv")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sysv")))]
    pub fn attach(&self, at: usize, segment: &crate::sysv::Shm, access: Access) -> io::Result<PlacedMapping<'_>> {
        use crate::sysv::AttachFlags;
        let flags = match access {
            Access::ReadOnly => AttachFlags::READ_ONLY | AttachFlags::REMAP,
            Access::ReadWrite => AttachFlags::REMAP,
        };
        // As long as this lives, the id means this segment, so it has this size when it is attached below.
        let pin = segment.attach_read_only()?;
        let place = |start: NonNull<u8>| {
            // SAFETY: `place` has taken the pages from `start` on that the segment needs for this call alone, and
            // nothing is mapped there.
            let attached = unsafe { segment.attach_at(start.as_ptr(), flags) }?;
            let _ = attached.into_raw();
            Ok(())
        };
        // SAFETY: if it succeeds, the segment is attached there with this access, with all its bytes, and gave its
        // attachment away.
        unsafe { self.place(at, pin.len(), access, place) }
    }

    /// Places memory by other means: takes the range for the caller alone, and calls `attach` with its first address.
    ///
    /// ```
    /// use smstream_shm::AddressRange;
    /// use smstream_shm::memory::{Access, SharedMemory};
    ///
    /// let range = AddressRange::new(1 << 20)?;
    /// // SAFETY: mprotect makes all of the range readable and writable private memory, and maps nothing elsewhere.
    /// let placed = unsafe {
    ///     range.place(4096, 4096, Access::ReadWrite, |start| {
    ///         let allowed = rustix::mm::MprotectFlags::READ | rustix::mm::MprotectFlags::WRITE;
    ///         Ok(rustix::mm::mprotect(start.as_ptr().cast(), 4096, allowed)?)
    ///     })?
    /// };
    /// placed.copy_in(0, b"private memory")?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` and `AddrInUse` as for [`map`](Self::map), and what `attach` returns.
    ///
    /// # Safety
    /// `attach` replaces what is mapped from the address that it is given on, for `len` bytes rounded up to whole pages
    /// and no further. If it succeeds, all of the `len` bytes are mapped with this access. Only the guard unmaps
    /// them, which maps emptiness over them.
    pub unsafe fn place(
        &self,
        at: usize,
        len: usize,
        access: Access,
        attach: impl FnOnce(NonNull<u8>) -> io::Result<()>,
    ) -> io::Result<PlacedMapping<'_>> {
        let range = self.take(at, len)?;
        // SAFETY: the offset is inside of the address range: `take`.
        let start = unsafe { self.start.add(at) };
        // From here on a failure, also a panic of `attach`, empties the range and gives it back.
        let placed = PlacedMapping { owner: self, start, len, range, access };
        attach(start)?;
        Ok(placed)
    }

    /// Takes a part, whole pages, for one user.
    fn take(&self, at: usize, len: usize) -> io::Result<Range<usize>> {
        let wrong = |why: &str| {
            let text = format!("cannot place {len} bytes at {at} of an address range of {} bytes: {why}", self.len);
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        };
        if len == 0 || !at.is_multiple_of(page_size()) {
            return wrong("it must begin on a page and must not be empty");
        }
        let end = round_up_to_page(len).and_then(|len| at.checked_add(len));
        let Some(end) = end.filter(|&end| end <= self.len) else { return wrong("it is not inside") };
        self.used.update(|used| {
            if let Some(other) = used.iter().find(|other| other.start < end && at < other.end) {
                let text = format!("cannot place {len} bytes at {at}: {other:?} of the address range is in use");
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
            let more = used.iter().cloned().chain(std::iter::once(at..end)).collect();
            Ok((more, at..end))
        })
    }

    /// Empties a part that was taken, and gives it back to the others.
    fn empty(&self, range: &Range<usize>) -> io::Result<()> {
        // SAFETY: the range is inside of the address range.
        let start = unsafe { self.start.add(range.start) };
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        let len = range.len();
        // SAFETY: the range is a part of the address range that belongs to the caller, who has given up what was mapped
        // there (a caller that took a pointer from it agreed not to use it after that). MAP_FIXED replaces it at once: there
        // is no moment in which another thread could map something there.
        let result = unsafe { rustix::mm::mmap_anonymous(start.as_ptr().cast(), len, ProtFlags::empty(), flags) };
        result.map_err(|e| explain(e, format!("cannot empty {len} bytes of an address range")))?;
        self.used.update(|used| Ok((used.iter().filter(|other| *other != range).cloned().collect(), ())))
    }
}

impl Drop for AddressRange {
    fn drop(&mut self) {
        // SAFETY: the range is this value's, and nothing that is placed in it lives on, because that borrows it.
        let result = unsafe { rustix::mm::munmap(self.start.as_ptr().cast::<c_void>(), self.len) };
        debug_assert!(result.is_ok(), "munmap of one's own address range: {result:?}");
    }
}

/// Memory in an [`AddressRange`]. When it is dropped the addresses are empty again, and still reserved.
///
/// ```
/// use smstream_shm::AddressRange;
/// use smstream_shm::memory::{Access, SharedMemory, memfd};
///
/// let range = AddressRange::new(8192)?;
/// let placed = range.map(4096, memfd("example", 4096)?, 0, 100, Access::ReadWrite)?;
/// assert_eq!(placed.as_ptr().addr(), range.as_ptr().addr() + 4096);
/// assert_eq!(placed.len(), 100);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct PlacedMapping<'r> {
    owner: &'r AddressRange,
    start: NonNull<u8>,
    len: usize,
    range: Range<usize>,
    access: Access,
}

// SAFETY: it owns a range of addresses of the process, which belongs to no thread, and borrows an address range, which is
// `Sync`.
unsafe impl Send for PlacedMapping<'_> {}
// SAFETY: `&PlacedMapping` gives out the address and the length, which never change, and accesses bytes by atomic words only
// (`SharedMemory`).
unsafe impl Sync for PlacedMapping<'_> {}

impl PlacedMapping<'_> {
    /// Where it begins. It stays valid until this is dropped.
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    /// Where it begins, for writing: `None` if it may only be read.
    #[must_use]
    pub fn as_mut_ptr(&self) -> Option<*mut u8> {
        (self.access == Access::ReadWrite).then_some(self.start.as_ptr())
    }

    /// Empties the addresses. They stay reserved, and something else can be placed there. Dropping it does the same,
    /// without saying whether it worked.
    ///
    /// # Errors
    /// What the system says: then the addresses stay in use, until the address range is dropped.
    pub fn give_back(self) -> io::Result<()> {
        let this = std::mem::ManuallyDrop::new(self);
        this.owner.empty(&this.range)
    }
}

impl Drop for PlacedMapping<'_> {
    fn drop(&mut self) {
        let _ = self.owner.empty(&self.range);
    }
}

// SAFETY: `AddressRange::place` has it from its caller that the memory is mapped with this access, for `len` bytes and
// hence for whole pages; it begins on a page, and stays until the guard is dropped.
unsafe impl SharedMemory for PlacedMapping<'_> {
    fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    fn len(&self) -> usize {
        self.len
    }

    fn access(&self) -> Access {
        self.access
    }
}

#[cfg(test)]
#[path = "address_range_tests.rs"]
mod tests;
