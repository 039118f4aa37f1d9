use super::*;
use std::cell::{Cell, RefCell};
use std::sync::atomic::AtomicBool;

/// Two fields, of which the second is always twice the first.
struct Pair(AtomicU64, AtomicU64);

impl Fields for Pair {
    type Value = u64;

    fn store(&self, value: &u64) {
        self.0.store(*value, Ordering::Relaxed);
        self.1.store(2 * value, Ordering::Relaxed);
    }

    fn load(&self, value: &mut u64) {
        *value = self.0.load(Ordering::Relaxed);
        if self.1.load(Ordering::Relaxed) != 2 * *value {
            // A mix: no test enters this value.
            *value = u64::MAX;
        }
    }
}

impl StaticFields for Pair {
    const EMPTY: Self = Self(AtomicU64::new(0), AtomicU64::new(0));
}

fn slot<F: StaticFields>() -> Slot<F> {
    Slot { word: AtomicU64::new(0), fields: F::EMPTY }
}

#[test]
fn an_entry_is_read_until_it_is_left() {
    let slot = slot::<Pair>();
    assert_eq!(read(&slot), None);
    let first = slot.enter(1, Inherited::Void, &7).unwrap();
    assert_eq!(first.process(), 1);
    assert_eq!(slot.enter(1, Inherited::Void, &8), None, "the slot is in use");
    assert_eq!(read(&slot), Some((first, 7)));
    slot.leave(first);
    assert_eq!(read(&slot), None);
    let second = slot.enter(1, Inherited::Void, &9).unwrap();
    assert_ne!(first, second, "another generation");
    slot.leave(first);
    assert_eq!(read(&slot), Some((second, 9)), "an old ticket ends nothing");
}

#[test]
fn a_forked_child_uses_the_slots_of_its_parent_as_the_table_says() {
    let slot = slot::<Pair>();
    let parents = slot.enter(1, Inherited::Void, &7).unwrap();
    assert_eq!(slot.enter(2, Inherited::Kept, &8), None);
    assert_eq!(read(&slot), Some((parents, 7)));
    let childs = slot.enter(2, Inherited::Void, &8).unwrap();
    assert_eq!((childs.process(), read(&slot)), (2, Some((childs, 8))));
    slot.leave(parents);
    assert_eq!(read(&slot), Some((childs, 8)));
}

#[test]
fn generations_wrap() {
    let slot = slot::<Pair>();
    // FREE, of the last generation.
    slot.word.store(0xffff_fffc, Ordering::Relaxed);
    let last = slot.enter(5, Inherited::Void, &1).unwrap();
    slot.leave(last);
    assert_eq!(slot.word.load(Ordering::Relaxed), 0);
    slot.enter(5, Inherited::Void, &2).unwrap();
    assert_eq!(read(&slot).unwrap().1, 2);
}

thread_local! {
    /// Called at each access to a field, as a signal handler could be.
    static HANDLER: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
    static STEPS: Cell<u32> = const { Cell::new(0) };
}

/// As `Pair`, and the thread is interrupted before, between and after the accesses.
struct Interrupted(Pair);

fn interrupt() {
    // The handler is not interrupted itself.
    let handler = HANDLER.take();
    if let Some(handler) = &handler {
        STEPS.set(STEPS.get() + 1);
        handler();
    }
    HANDLER.set(handler);
}

impl Fields for Interrupted {
    type Value = u64;

    fn store(&self, value: &u64) {
        interrupt();
        self.0.0.store(*value, Ordering::Relaxed);
        interrupt();
        self.0.1.store(2 * value, Ordering::Relaxed);
        interrupt();
    }

    fn load(&self, value: &mut u64) {
        interrupt();
        let first = self.0.0.load(Ordering::Relaxed);
        interrupt();
        let second = self.0.1.load(Ordering::Relaxed);
        interrupt();
        *value = if second == 2 * first { first } else { u64::MAX };
    }
}

impl StaticFields for Interrupted {
    const EMPTY: Self = Self(Pair::EMPTY);
}

fn read<F: Fields<Value = u64>>(slot: &Slot<F>) -> Option<(Ticket, u64)> {
    let mut value = 0;
    slot.read(&mut value).map(|ticket| (ticket, value))
}

fn entries<F: StaticFields<Value = u64>, const SLOTS: usize>(table: &'static Table<F, SLOTS>) -> Vec<(Entry<F>, u64)> {
    let mut all = Vec::new();
    table.look(&mut 0, |entry, value| {
        all.push((entry, *value));
        None::<()>
    });
    all
}

fn values<F: StaticFields<Value = u64>, const SLOTS: usize>(table: &'static Table<F, SLOTS>) -> Vec<u64> {
    entries(table).into_iter().map(|(_, value)| value).collect()
}

/// Sets the handler for as long as `run` takes.
fn with_handler(handler: impl Fn() + 'static, run: impl FnOnce()) -> u32 {
    STEPS.set(0);
    HANDLER.set(Some(Box::new(handler)));
    run();
    HANDLER.set(None);
    STEPS.get()
}

#[test]
fn a_handler_passes_over_an_entry_that_it_interrupts() {
    static TABLE: Table<Interrupted, 2> = Table::new(Inherited::Void);
    let first = TABLE.enter(&10).unwrap();
    let steps = with_handler(|| assert_eq!(values(&TABLE), [10]), || assert!(TABLE.enter(&20).is_some()));
    assert_eq!(steps, 3, "the handler ran inside of `enter`");
    assert_eq!(values(&TABLE), [10, 20]);
    first.leave();
}

#[test]
fn a_handler_may_end_and_reuse_the_entry_that_is_being_read() {
    static TABLE: Table<Interrupted, 1> = Table::new(Inherited::Void);
    for at in 0..3 {
        let entry = TABLE.enter(&10).unwrap();
        let count = Cell::new(0);
        let found = RefCell::new(None);
        with_handler(
            move || {
                count.set(count.get() + 1);
                if count.get() == at + 1 {
                    entry.leave();
                    TABLE.enter(&20).unwrap();
                }
            },
            || *found.borrow_mut() = Some(entries(&TABLE).len()),
        );
        assert_eq!(found.into_inner(), Some(0), "the entry has changed while it was read");
        let (second, value) = entries(&TABLE)[0];
        assert_eq!(value, 20);
        second.leave();
    }
}

#[test]
fn a_handler_may_enter_while_it_interrupts_an_entry() {
    static TABLE: Table<Interrupted, 2> = Table::new(Inherited::Void);
    let done = Cell::new(false);
    with_handler(
        move || {
            if !done.replace(true) {
                TABLE.enter(&20).unwrap();
            }
        },
        || assert!(TABLE.enter(&10).is_some()),
    );
    assert_eq!(values(&TABLE), [10, 20]);
}

#[test]
fn a_table_that_may_grow_always_has_room() {
    static TABLE: Table<Pair, 4> = Table::new(Inherited::Kept);
    let made: Vec<_> = (0..14).map(|value| TABLE.enter_or_grow(&value)).collect();
    assert!(TABLE.enter(&99).is_none(), "the first chunk is full");
    assert_eq!(values(&TABLE), (0..14).collect::<Vec<_>>());
    made[5].leave();
    assert_eq!(entries(&TABLE).len(), 13);
    TABLE.enter_or_grow(&20);
    assert_eq!(values(&TABLE)[5], 20, "the slot is used again");
}

#[test]
fn threads_that_grow_a_table_at_once_lose_no_entry() {
    static TABLE: Table<Pair, 1> = Table::new(Inherited::Kept);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || (0..50).for_each(|i| _ = TABLE.enter_or_grow(&(50 * thread + i))));
        }
    });
    let mut values: Vec<_> = values(&TABLE);
    values.sort_unstable();
    assert_eq!(values, (0..200).collect::<Vec<_>>());
}

#[test]
fn a_reader_never_gets_half_of_one_entry_and_half_of_another() {
    let slot = slot::<Pair>();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_ne!(read(&slot).map(|(_, value)| value), Some(u64::MAX));
            }
        });
        for value in 0..100_000 {
            slot.leave(slot.enter(1, Inherited::Void, &value).expect("the slot is free"));
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// A fork in the middle of another thread's `enter` leaves a slot FILLED in the child, where that thread does not exist.
#[test]
fn a_slot_that_was_being_filled_at_a_fork_is_not_lost() {
    static TABLE: Table<Interrupted, 1> = Table::new(Inherited::Kept);
    let fork = || {
        // SAFETY: the child calls functions that are async-signal-safe only, and ends by `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            HANDLER.set(None);
            let entered = TABLE.enter(&20).is_some() && values(&TABLE) == [20];
            // SAFETY: it ends the child.
            unsafe { libc::_exit(i32::from(!entered)) };
        }
        let mut status = -1;
        // SAFETY: it writes to `status`, which outlives the call.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "the child could not use the slot");
    };
    let steps = with_handler(fork, || assert!(TABLE.enter(&10).is_some()));
    assert_eq!(steps, 3);
    assert_eq!(values(&TABLE), [10]);
}
