//! Smoke.
use smstream_core::lane::{Consumer, Producer};
use smstream_core::layout::Port;
use smstream_core::park::Spin;
use smstream_core::sync::LaneByte;

#[test]
fn transfer() {
    loom::model(|| {
        struct Shared {
            a: Port,
            b: Port,
            lane: Vec<LaneByte>,
        }
        let s = loom::sync::Arc::new(Shared {
            a: Port::new(0x7fff_ffff, 0),
            b: Port::new(0, 0x7fff_ffff),
            lane: (0..1).map(|_| LaneByte::new(0)).collect(),
        });
        let s2 = s.clone();
        let t = loom::thread::spawn(move || {
            let mut p = unsafe { Producer::from_parts(&s2.a, &s2.b, s2.lane.as_ptr().cast_mut(), 1, Spin) };
            for i in 0..2 {
                while p.write(&[i]).is_err() {
                    loom::thread::yield_now();
                }
            }
        });
        let mut c = unsafe { Consumer::from_parts(&s.b, &s.a, s.lane.as_ptr(), 1, Spin) };
        for i in 0..2 {
            let mut out = [9];
            while c.read(&mut out).is_err() {
                loom::thread::yield_now();
            }
            assert_eq!(out[0], i);
        }
        t.join().unwrap();
    });
}
