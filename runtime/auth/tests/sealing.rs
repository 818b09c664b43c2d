//! What is sealed can be opened by whom it was sealed to, by nobody else, and never half.

mod common;

use asl_auth::epoch::{open_epoch, open_keys};
use asl_auth::sealing::{has_shape, open_range, open_with, seal_in_place, seal_to, Opened};
use asl_auth::*;
use asl_core::Kind;
use common::entropy;
use std::io::{Cursor, Read, Seek, SeekFrom};

const CHUNK: usize = 64 << 10;

/// An OpenSSH key made for this test by `ssh-keygen -t ed25519`; it protects nothing.
const SSH_KEY: &str = include_str!("ssh_ed25519_key");
const SSH_PUB: &str = include_str!("ssh_ed25519_key.pub");
const SSH_LOCKED: &str = include_str!("ssh_ed25519_key_under_passphrase");

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

/// Counts what is read, to see that a range does not cost the whole file.
struct Counting<'a>(Cursor<&'a [u8]>, &'a mut usize);

impl Read for Counting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read(buffer)?;
        *self.1 += n;
        Ok(n)
    }
}

impl Seek for Counting<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn an_epoch_opens_with_the_owners_key_and_its_blocks_with_what_lies_in_it() {
    let (owner, file) = OpenIdentity::generate();
    let epoch = NewEpoch::create(1, &owner.recipients(), &entropy()).unwrap();
    let block = seal_to(std::slice::from_ref(&epoch.data_recipient), b"a block").unwrap();

    let owner = OpenIdentity::parse(&file).unwrap();
    let data = open_epoch(&epoch.epoch_age, &owner).unwrap();
    assert_eq!(data.recipient(), epoch.data_recipient);
    assert_eq!(&**open_with(&data, &block).unwrap(), b"a block");
    let by_data = open_keys(&epoch.epoch_keys_age, &data).unwrap();
    let by_index = open_keys(&epoch.epoch_keys_age, &epoch.index_identity).unwrap();
    assert!(by_data == by_index);
    assert_eq!(by_index.number, 1);
    assert_ne!(by_index.chunk_id_key, by_index.mac_key);
}

#[test]
fn the_seal_credential_cannot_open_a_block_nor_the_epoch() {
    let (owner, _) = OpenIdentity::generate();
    let epoch = NewEpoch::create(3, &owner.recipients(), &entropy()).unwrap();
    let credential = SealCredential::decode(&epoch.credential().encode()).unwrap();
    assert_eq!(credential.epoch, 3);
    let block = seal_to(std::slice::from_ref(&credential.data_recipient), b"a block").unwrap();
    let index = &credential.index_identity;
    for sealed in [&block, &epoch.epoch_age] {
        let e = open_with(index, sealed).unwrap_err();
        assert_eq!(e.kind(), Kind::Refused, "{e}");
        assert!(e.why().contains("index identity"), "{e}");
    }
    assert!(open_keys(&epoch.epoch_keys_age, index).is_ok());
}

#[test]
fn another_owner_opens_nothing() {
    let (owner, _) = OpenIdentity::generate();
    let (other, _) = OpenIdentity::generate();
    let epoch = NewEpoch::create(1, &owner.recipients(), &entropy()).unwrap();
    let e = open_epoch(&epoch.epoch_age, &other).unwrap_err();
    assert!(e.why().contains("not sealed to this open identity"), "{e}");
    assert!(open_keys(&epoch.epoch_keys_age, &other).is_err());
}

#[test]
fn an_openssh_key_can_own_a_domain() {
    let recipient: Recipient = SSH_PUB.parse().unwrap();
    let owner = OpenIdentity::parse(SSH_KEY).unwrap();
    assert_eq!(owner.recipients()[0], recipient);
    let epoch = NewEpoch::create(1, &[recipient], &entropy()).unwrap();
    assert!(open_epoch(&epoch.epoch_age, &owner).is_ok());
}

#[test]
fn an_owner_key_that_cannot_be_used_here_says_what_to_do() {
    let e = OpenIdentity::parse(SSH_LOCKED).unwrap_err();
    assert!(e.why().contains("under a passphrase"), "{e}");
    let e = OpenIdentity::parse("AGE-PLUGIN-YUBIKEY-1QQQQ").unwrap_err();
    assert_eq!(e.kind(), Kind::Invalid, "{e}");
    let e = OpenIdentity::parse(NOWHERE_IDENTITY).unwrap_err();
    assert!(e.to_string().contains("age-plugin-nowhere"), "{e}");
    assert!(e.what_next().contains("RECOVER.txt"), "{e}");
    for text in [
        "",
        "# nothing\n",
        "AGE-SECRET-KEY-1XXXX",
        "-----BEGIN X-----",
        "hello",
    ] {
        let e = OpenIdentity::parse(text).unwrap_err();
        assert_eq!(e.kind(), Kind::Invalid, "{text}: {e}");
    }
}

/// A recipient and an identity of a plugin that exists nowhere.
const NOWHERE: &str = "age1nowhere1dehhw6r9wfjjzxk944l";
const NOWHERE_IDENTITY: &str = "AGE-PLUGIN-NOWHERE-1DEHHW6R9WFJJZZAMZSX";

#[test]
fn a_plugin_is_named_in_a_dam_anywhere_and_sealed_to_only_where_its_tool_is() {
    let recipient: Recipient = NOWHERE.parse().unwrap();
    assert_eq!(recipient.to_string(), NOWHERE);
    let e = NewEpoch::create(1, &[recipient], &entropy()).err().unwrap();
    assert_eq!(e.kind(), Kind::Refused, "{e}");
    assert!(e.to_string().contains("age-plugin-nowhere"), "{e}");
}

#[test]
fn an_rsa_key_of_openssh_can_own_a_domain() {
    let dir = std::env::temp_dir().join(format!("asl-auth-rsa-{}", std::process::id()));
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-C", "", "-f"])
        .arg(&dir)
        .status()
        .expect("this test needs ssh-keygen (Debian: openssh-client)");
    assert!(made.success());
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let (secret, public) = (read(&dir), read(&dir.with_extension("pub")));
    std::fs::remove_file(&dir).unwrap();
    std::fs::remove_file(dir.with_extension("pub")).unwrap();
    let recipient: Recipient = public.parse().unwrap();
    assert_eq!(recipient.to_string(), public.trim());
    let owner = OpenIdentity::parse(&secret).unwrap();
    let epoch = NewEpoch::create(1, &[recipient], &entropy()).unwrap();
    assert!(open_epoch(&epoch.epoch_age, &owner).is_ok());
}

#[test]
fn an_epoch_wrapped_anew_opens_for_the_new_owner_and_not_for_the_one_left_out() {
    let (old, _) = OpenIdentity::generate();
    let (new, _) = OpenIdentity::generate();
    let epoch = NewEpoch::create(1, &old.recipients(), &entropy()).unwrap();
    let again = epoch::rewrap(1, &epoch.epoch_age, &old, &new.recipients()).unwrap();
    let data = open_epoch(&again, &new).unwrap();
    assert_eq!(data.recipient(), epoch.data_recipient);
    assert!(open_epoch(&again, &old).is_err());
    assert!(epoch::rewrap(1, &epoch.epoch_age, &new, &new.recipients()).is_err());
    assert!(epoch::rewrap(1, &epoch.epoch_age, &old, &[]).is_err());
}

#[test]
fn an_identity_of_two_keys_is_not_taken_for_an_epochs() {
    let (a, b) = (DataIdentity::generate(), DataIdentity::generate());
    let two = format!("{}\n{}\n", &*a.to_text(), &*b.to_text());
    assert!(DataIdentity::parse(&two).is_err());
    assert!(DataIdentity::parse("").is_err());
    assert_eq!(
        DataIdentity::parse(&a.to_text()).unwrap().recipient(),
        a.recipient()
    );
}

/// The bulk goes through ring, not through age's own stream: each must read what the other wrote.
#[test]
fn what_is_sealed_here_age_itself_opens_and_the_other_way_round() {
    let id = DataIdentity::generate();
    let key: age::x25519::Identity = id.to_text().parse().unwrap();
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5 * CHUNK + 7] {
        let plain = pattern(len);
        let sealed = seal_to(&[id.recipient()], &plain).unwrap();
        let file = age::Decryptor::new(&sealed[..]).unwrap();
        let mut stream = file.decrypt(std::iter::once(&key as _)).unwrap();
        let mut opened = Vec::new();
        stream.read_to_end(&mut opened).unwrap();
        assert!(opened == plain, "{len}");

        let sealed = age::encrypt(&key.to_public(), &plain).unwrap();
        assert!(**open_with(&id, &sealed).unwrap() == plain, "{len}");
    }
}

#[test]
fn a_range_is_read_right_wherever_it_lies() {
    let id = DataIdentity::generate();
    for len in [
        0,
        1,
        100,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        3 * CHUNK,
        3 * CHUNK + 7,
    ] {
        let plain = pattern(len);
        let sealed = seal_to(&[id.recipient()], &plain).unwrap();
        assert!(has_shape(&sealed), "{len}");
        let mut open = Opened::new(&id, Cursor::new(&sealed)).unwrap();
        assert_eq!(open.plain_len(), len as u64);
        let marks = [0, 1, len / 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, len];
        for from in marks.into_iter().filter(|m| *m <= len) {
            for to in marks.into_iter().filter(|m| (from..=len).contains(m)) {
                let got = open.read(from as u64..to as u64).unwrap();
                assert!(**got == plain[from..to], "{len}: {from}..{to}");
            }
        }
        let end = len as u64;
        assert_eq!(open.read(0..end + 1).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(
            open.read(u64::MAX - 1..u64::MAX).unwrap_err().kind(),
            Kind::Invalid
        );
        #[allow(clippy::reversed_empty_ranges)]
        let backwards = open.read(1..0);
        assert!(backwards.is_err());
    }
}

#[test]
fn a_range_costs_its_chunks_and_not_the_file() {
    let id = DataIdentity::generate();
    let sealed = seal_to(&[id.recipient()], &pattern(100 * CHUNK)).unwrap();
    let mut read = 0;
    let from = 50 * CHUNK as u64;
    open_range(
        &id,
        Counting(Cursor::new(&sealed), &mut read),
        from..from + 10,
    )
    .unwrap();
    assert!(read < 8 * CHUNK, "{read}");
}

#[test]
fn a_changed_or_cut_file_is_damage_and_never_half_opened() {
    let id = DataIdentity::generate();
    let plain = pattern(2 * CHUNK + 5);
    let sealed = seal_to(&[id.recipient()], &plain).unwrap();
    let mut refused = 0;
    for at in (0..sealed.len()).step_by(997) {
        let mut bad = sealed.clone();
        bad[at] ^= 4;
        // A flip in the recipient's own stanza looks like a file for somebody else.
        let whole = open_with(&id, &bad).unwrap_err();
        assert!(
            matches!(whole.kind(), Kind::Damage | Kind::Refused),
            "{whole}"
        );
        let ranged = Opened::new(&id, Cursor::new(&bad));
        let all = 0..plain.len() as u64;
        assert!(ranged.and_then(|mut f| f.read(all)).is_err());
        refused += 1;
    }
    assert!(refused > 100);
    for cut in [
        0,
        1,
        30,
        sealed.len() - 1,
        sealed.len() - 21,
        sealed.len() / 2,
    ] {
        assert!(open_with(&id, &sealed[..cut]).is_err(), "{cut}");
        assert!(
            Opened::new(&id, Cursor::new(&sealed[..cut])).is_err(),
            "{cut}"
        );
    }
}

#[test]
fn shape_is_told_without_a_key() {
    let id = DataIdentity::generate();
    let sealed = seal_to(&[id.recipient()], b"").unwrap();
    assert!(has_shape(&sealed));
    assert!(!has_shape(&sealed[..sealed.len() - 1]));
    assert!(!has_shape(b""));
    assert!(!has_shape(b"plain text"));
    assert!(!has_shape(&vec![0; 1 << 20]));
    let under_passphrase = secrets::passphrase_lock(b"x", "p", 2).unwrap();
    assert!(!has_shape(&under_passphrase));
}

#[test]
fn a_header_without_end_is_refused_before_it_is_parsed() {
    let mut bomb = b"age-encryption.org/v1\n".to_vec();
    while bomb.len() < 8 << 20 {
        bomb.extend_from_slice(b"-> X25519 AAAA\nAAAA\n");
    }
    let id = DataIdentity::generate();
    let begun = std::time::Instant::now();
    assert!(!has_shape(&bomb));
    assert!(open_with(&id, &bomb).is_err());
    assert!(Opened::new(&id, Cursor::new(&bomb)).is_err());
    assert!(begun.elapsed() < std::time::Duration::from_secs(2));
}

#[test]
fn an_epoch_without_owner_or_number_is_not_made() {
    let (owner, _) = OpenIdentity::generate();
    assert!(NewEpoch::create(0, &owner.recipients(), &entropy()).is_err());
    assert!(NewEpoch::create(1, &[], &entropy()).is_err());
    assert!(seal_to(&[], b"x").is_err());
}

#[test]
fn recipients_of_other_kinds_are_refused() {
    for text in [
        "",
        "age1",
        "age1pq1xxxx",
        "ssh-rsa AAAA",
        "ssh-ed25519 AAAA",
        "AGE-SECRET-KEY-1XXX",
        "https://example.org/keys",
    ] {
        assert!(text.parse::<Recipient>().is_err(), "{text}");
    }
}

#[test]
fn what_is_sealed_where_it_lies_is_opened_to_the_byte_whatever_its_length() {
    let id = DataIdentity::generate();
    let to = [id.recipient()];
    let lengths = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 7 * CHUNK + 9];
    for length in lengths {
        let plain = pattern(length);
        let mut bytes = plain.clone();
        seal_in_place(&to, &mut bytes).unwrap();
        assert!(has_shape(&bytes), "{length}");
        assert!(open_with(&id, &bytes).unwrap()[..] == plain, "{length}");
    }
}

#[test]
fn sealing_in_place_needs_no_second_buffer() {
    let to = [DataIdentity::generate().recipient()];
    let mut bytes = Vec::with_capacity(32 * CHUNK + 32 * 16 + 1024);
    bytes.extend(pattern(32 * CHUNK));
    let before = (bytes.as_ptr(), bytes.capacity());
    seal_in_place(&to, &mut bytes).unwrap();
    assert_eq!((bytes.as_ptr(), bytes.capacity()), before);
}

#[test]
fn bytes_that_could_not_be_sealed_in_place_are_as_they_were() {
    let mut bytes = pattern(3 * CHUNK + 5);
    assert!(seal_in_place(&[], &mut bytes).is_err());
    assert!(bytes == pattern(3 * CHUNK + 5));
}
