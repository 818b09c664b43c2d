//! Verify in parts, and repair: what can be made good is, and what cannot is named.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use asl_core::{Error, Kind};
use asl_store::{Mode, RepairReport, Sample, Store, StoreOptions, VerifyOptions, VerifyReport};
use common::{created, id_of, noise, opened, options, put, terms, Memory, ToySealer};
use std::cell::Cell;
use std::sync::Arc;

const DATA: VerifyOptions = VerifyOptions {
    data: true,
    sample: None,
    remember: true,
    resume: false,
};

fn verify(store: &Store, options: VerifyOptions) -> VerifyReport {
    store.verify(options, &|_, _| (), &|| false).unwrap()
}

fn damage(store: &Store) -> Vec<String> {
    let report = verify(store, DATA);
    report.damage.iter().map(ToString::to_string).collect()
}

fn repair(store: &mut Store) -> RepairReport {
    store.repair(&|_, _| (), &|| false).unwrap()
}

/// Seven roots with a block and a segment each (eight would be merged), and two snapshots.
fn filled(backend: &Arc<Memory>) -> Store {
    let store = created(backend);
    fill(&store);
    store
}

fn fill(store: &Store) {
    for n in 0..7u64 {
        store.begin_root().unwrap();
        let bytes = noise(20_000, n);
        let id = store_id(store, &bytes);
        store.put_piece(id, &common::blob(), &bytes).unwrap();
        store.finish_root(format!("root {n}").as_bytes()).unwrap();
        if n == 3 || n == 6 {
            store.snapshot(&terms()).unwrap();
        }
    }
}

/// The sealers of these tests name pieces alike but for their key.
fn store_id(store: &Store, bytes: &[u8]) -> asl_core::ChunkId {
    use asl_store::Sealer;
    match store.current().epochs.is_empty() {
        true => id_of(bytes),
        false => owner().chunk_id(1, bytes).unwrap(),
    }
}

fn owner() -> ToySealer {
    ToySealer {
        epoch: 1,
        opens: true,
        key: 3,
    }
}

// --- verify in parts -----------------------------------------------------------------------

#[test]
fn an_interrupted_check_goes_on_where_it_was_and_finds_what_it_had_found() {
    let backend = Memory::new();
    drop(filled(&backend));
    let blocks = backend.names("blocks/sealed");
    backend.flip(&blocks[0], 100, 1);
    let store = Store::open(backend.clone(), Mode::Read, options()).unwrap();
    let asked = Cell::new(0);
    let stop = || asked.replace(asked.get() + 1) >= 4;
    let e = store.verify(DATA, &|_, _| (), &stop).unwrap_err();
    assert_eq!(e.kind(), Kind::Interrupted);
    assert!(e.what_next().contains("verify --resume"), "{e:?}");
    let resume = VerifyOptions {
        resume: true,
        ..DATA
    };
    let rest = verify(&store, resume);
    assert!(rest.earlier > 0, "{rest:?}");
    assert_eq!(rest.earlier + rest.blocks, 7);
    assert_eq!(rest.damage.len(), 1, "{:?}", rest.damage);
    // Done: the next one begins anew, and so does one of another depth.
    assert_eq!(verify(&store, resume).earlier, 0);
    assert_eq!(backend.names("tmp/").len(), 0);
}

#[test]
fn a_note_that_was_spoiled_or_taken_away_makes_a_check_look_again() {
    let backend = Memory::new();
    let store = filled(&backend);
    for change in [0, 1, 2] {
        let asked = Cell::new(0);
        let stop = || asked.replace(asked.get() + 1) >= 4;
        drop(store.verify(DATA, &|_, _| (), &stop));
        match change {
            0 => backend.flip("tmp/verified-data", 3, 1),
            1 => drop(backend.objects().remove("tmp/verified-data").unwrap()),
            _ => drop(
                backend
                    .objects()
                    .insert("tmp/verified-data".into(), noise(500, 1)),
            ),
        }
        let resume = VerifyOptions {
            resume: true,
            ..DATA
        };
        let all = verify(&store, resume);
        assert_eq!((all.earlier, all.blocks), (0, 7), "{change}");
    }
}

#[test]
fn a_sample_says_what_it_left_out_and_takes_others_each_time() {
    let backend = Memory::new();
    let store = filled(&backend);
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..40u8 {
        let options = VerifyOptions {
            sample: Some(Sample {
                per_million: 300_000,
                seed: [seed; 32],
            }),
            remember: false,
            ..DATA
        };
        let report = verify(&store, options);
        seen.insert(report.blocks);
        let left_out = 7 - report.blocks;
        let told = report
            .not_checked
            .iter()
            .any(|l| l.starts_with(&format!("{left_out} of 7 blocks")));
        assert!(told || left_out == 0, "{:?}", report.not_checked);
        assert_eq!(
            (report.segments, report.sets, report.damage.len()),
            (7, 7, 0)
        );
    }
    assert!(seen.len() > 2, "{seen:?}");
    let whole = Sample {
        per_million: 1_000_000,
        seed: [0; 32],
    };
    let all = VerifyOptions {
        sample: Some(whole),
        ..DATA
    };
    assert_eq!(verify(&store, all).blocks, 7);
}

// --- repair --------------------------------------------------------------------------------

/// What lies in a store, quarantine apart.
fn files(backend: &Memory) -> Vec<String> {
    let all = backend.names("");
    all.into_iter()
        .filter(|n| !n.contains("quarantine"))
        .collect()
}

#[test]
fn lists_and_segments_are_made_anew_and_the_old_ones_kept() {
    for part in ["snap-000001/blocks", "seg-000003/segment"] {
        for gone in [false, true] {
            let backend = Memory::new();
            drop(filled(&backend));
            let whole = files(&backend);
            let name = backend.names(part).remove(0);
            match gone {
                true => drop(backend.objects().remove(&name).unwrap()),
                false => backend.flip(&name, 30, 2),
            }
            let spoiled = backend.objects().get(&name).cloned();
            let mut store = opened(&backend);
            let at = format!("{part}, gone: {gone}");
            assert_eq!(damage(&store).len(), 1, "{at}: {:?}", damage(&store));
            let report = repair(&mut store);
            assert_eq!(
                (report.lost.len(), report.remains.len()),
                (0, 0),
                "{at}: {report:?}"
            );
            drop(store);
            let mut store = opened(&backend);
            assert_eq!(damage(&store), [] as [String; 0], "{at}");
            assert_eq!(files(&backend), whole, "{at}");
            let kept = backend.names("quarantine");
            let kept: Vec<_> = kept.iter().map(|n| backend.objects()[n].clone()).collect();
            assert_eq!(kept, Vec::from_iter(spoiled.filter(|_| !gone)), "{at}");
            assert_eq!(
                repair(&mut store),
                RepairReport::default(),
                "{at}: twice is once"
            );
            for n in 0..7 {
                let bytes = noise(20_000, n);
                assert_eq!(store.get_piece(&id_of(&bytes)).unwrap(), bytes, "{at}");
            }
        }
    }
}

#[test]
fn a_ledger_with_a_changed_line_is_written_anew_and_the_old_one_kept() {
    let backend = Memory::new();
    drop(filled(&backend));
    backend.flip("log/seal.log", 30, 2);
    let reader = Store::open(backend.clone(), Mode::Read, options()).unwrap();
    assert_eq!(damage(&reader).len(), 1);
    drop(reader);
    drop(repair(&mut opened(&backend)));
    let mut store = opened(&backend);
    assert_eq!(damage(&store), [] as [String; 0]);
    assert_eq!(repair(&mut store), RepairReport::default());
    assert!(backend.names("quarantine").len() <= 1);
}

#[test]
fn a_set_that_a_snapshots_list_proves_is_made_anew_and_another_is_told() {
    let backend = Memory::new();
    let store = created(&backend);
    store.begin_root().unwrap();
    put(&store, b"only one root, so its set is the snapshot's list");
    store.finish_root(b"root").unwrap();
    store.snapshot(&terms()).unwrap();
    drop(store);
    let name = backend.names(".set").remove(0);
    backend.objects().remove(&name);
    let mut store = opened(&backend);
    let report = repair(&mut store);
    assert_eq!(report.repaired, std::slice::from_ref(&name));
    assert_eq!(damage(&store), [] as [String; 0]);
    store.begin_root().unwrap();
    put(&store, b"another");
    store.finish_root(b"root two").unwrap();
    drop(store);
    let other = backend
        .names(".set")
        .into_iter()
        .find(|n| *n != name)
        .unwrap();
    backend.flip(&other, 20, 1);
    let mut store = opened(&backend);
    let report = repair(&mut store);
    assert_eq!(report.remains.len(), 1, "{report:?}");
    assert!(report.remains[0].object.contains(&other));
    assert_eq!(repair(&mut store), report, "twice is once");
}

#[test]
fn a_lost_block_is_named_with_what_reaches_it_and_is_sealed_again_when_its_data_comes() {
    let backend = Memory::new();
    let store = filled(&backend);
    let lost = store.get_piece(&id_of(&noise(20_000, 5))).unwrap();
    let current = store.current();
    let root = current.root_order[5];
    drop((store, current));
    let blocks = backend.names("blocks/sealed");
    let name = blocks.into_iter().find(|n| {
        let bytes = backend.objects()[n].clone();
        bytes.windows(64).any(|w| w == &lost[..64])
    });
    let name = name.unwrap();
    backend.flip(&name, 5000, 0);
    let mut store = opened(&backend);
    let report = repair(&mut store);
    assert_eq!(report.lost.len(), 1);
    let id = report.lost[0].block.unwrap();
    assert_eq!(report.lost[0].object, name);
    assert_eq!(
        (report.roots.clone(), report.snapshots.len()),
        (vec![root], 1)
    );
    assert_eq!(report.quarantined.len(), 1);
    assert_eq!(
        backend.names(&id.to_string()).len(),
        1,
        "only in quarantine"
    );
    let again = repair(&mut store);
    assert_eq!((again.lost.len(), again.quarantined.len()), (1, 0));
    assert!(
        again.lost[0].why.contains("no such object"),
        "{:?}",
        again.lost
    );
    // Everything else is served; the lost piece is told, and taken in again when it comes.
    let e: Error = store.get_piece(&id_of(&lost)).unwrap_err();
    assert_eq!(e.kind(), Kind::NotFound);
    store.begin_root().unwrap();
    put(&store, &lost);
    store.finish_root(b"sealed again").unwrap();
    assert_eq!(store.get_piece(&id_of(&lost)).unwrap(), lost);
    for n in 0..7 {
        store.get_piece(&id_of(&noise(20_000, n))).unwrap();
    }
}

/// A domain with sealed segments, filled by one who cannot open blocks.
fn sealed(backend: &Arc<Memory>) {
    Store::create(backend.clone(), b"genesis", [1; 16]).unwrap();
    let store = with(
        backend,
        ToySealer {
            opens: false,
            ..owner()
        },
    );
    let epoch = asl_store::Record::Epoch(asl_store::Epoch {
        number: 1,
        recipient: "age1toy".into(),
        files: Vec::new(),
    });
    store.append(vec![epoch]).unwrap();
    fill(&store);
}

fn with(backend: &Arc<Memory>, sealer: ToySealer) -> Store {
    let options = StoreOptions {
        sealer: Some(Arc::new(sealer)),
        ..options()
    };
    Store::open(backend.clone(), Mode::Write, options).unwrap()
}

#[test]
fn a_sealed_segment_needs_the_open_identity_and_proves_itself_by_its_trust_value() {
    let backend = Memory::new();
    sealed(&backend);
    let name = backend.names("seg-000003").remove(0);
    backend.flip(&name, 60, 2);
    let mut blind = with(
        &backend,
        ToySealer {
            opens: false,
            ..owner()
        },
    );
    let report = repair(&mut blind);
    assert_eq!(
        (report.remains.len(), report.repaired.len()),
        (1, 0),
        "{report:?}"
    );
    drop(blind);
    let keyless = StoreOptions {
        sealer: None,
        ..options()
    };
    let mut keyless = Store::open(backend.clone(), Mode::Write, keyless).unwrap();
    let report = repair(&mut keyless);
    assert!(
        report.remains[0].why.contains("no key is at hand"),
        "{report:?}"
    );
    drop(keyless);
    let mut store = with(&backend, owner());
    let report = repair(&mut store);
    assert_eq!((report.remains.len(), report.repaired), (0, vec![name]));
    assert_eq!(damage(&store), [] as [String; 0]);
    assert_eq!(repair(&mut store), RepairReport::default());
}

#[test]
fn a_store_opened_to_be_read_is_not_repaired() {
    let backend = Memory::new();
    drop(filled(&backend));
    let mut store = Store::open(backend.clone(), Mode::Read, options()).unwrap();
    let e = store.repair(&|_, _| (), &|| false).unwrap_err();
    assert_eq!(e.kind(), Kind::Refused);
}
