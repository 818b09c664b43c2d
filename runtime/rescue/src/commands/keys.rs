//! `key` and `dam`: what is prepared at home.

use super::context;
use crate::cli::{Dam as DamVerb, Key};
use crate::out::{time, Out};
use crate::unlock::{new_passphrase, unlock, Order};
use asl_auth::epoch::{open_epoch, open_keys};
use asl_auth::sealing::{open_with, seal_to};
use asl_auth::{
    cose, secrets, AdmissionResult, Dam, DamPolicy, DomainEncryption, Genesis, NewEpoch,
    OpenIdentity, Proven, PublicKey, Recipient, RootSet, SealCredential, SigningKey, StoreParams,
};
use asl_backend::files;
use asl_core::{words, Digest, Error, Kind, Result, Timestamp};
use asl_host::keystick::{name, HostPin, KeyStick};
use serde_json::json;
use std::path::Path;

/// How to open everything with other people's tools; travels on every key stick.
const RECOVER: &str = include_str!("../RECOVER.txt");

pub fn key(verb: Key, out: Out) -> Result<()> {
    match verb {
        Key::Generate {
            to,
            owner,
            passphrase_file,
        } => generate(&to, &owner, passphrase_file.as_deref(), out),
        Key::Bundle {
            keys,
            to,
            host,
            profile,
        } => bundle(&keys, &to, &host, profile.as_deref(), out),
        Key::Check {
            keys,
            identity,
            passphrase_file,
        } => check(&keys, &identity, passphrase_file, out),
    }
}

pub fn dam(verb: DamVerb, out: Out) -> Result<()> {
    match verb {
        DamVerb::Create { keys, label, days } => create_dam(&keys, &label, days, out),
        DamVerb::Sign { keys, root_key } => sign_dam(&keys, root_key.as_deref(), out),
        DamVerb::Verify { keys } => verify_dam(&keys, out),
    }
}

fn generate(to: &Path, owners: &[String], passphrase_file: Option<&Path>, out: Out) -> Result<()> {
    if to.exists() {
        return Err(
            Error::new(Kind::Exists, "make keys in", to.display(), "it exists")
                .next("name a new directory; keys are never overwritten"),
        );
    }
    let passphrase = new_passphrase(passphrase_file)?;
    make_private_dir(to)?;
    let entropy = context().entropy;
    let write = |name: &str, bytes: &[u8]| files::write_new(&to.join(name), bytes, 0o600);

    let recipients = if owners.is_empty() {
        let (identity, text) = OpenIdentity::generate();
        write(name::OWNER, text.as_bytes())?;
        identity.recipients()
    } else {
        owners
            .iter()
            .map(|o| o.parse())
            .collect::<Result<Vec<Recipient>>>()?
    };
    let lines: String = recipients.iter().map(|r| format!("{r}\n")).collect();
    write(name::OWNER_PUB, lines.as_bytes())?;

    let root = SigningKey::generate(&*entropy)?;
    write(name::ROOT_KEY, &root.encode())?;
    write(
        name::ROOT_PUB,
        format!("{}\n", root.public().to_openssh("root")).as_bytes(),
    )?;

    let operator = SigningKey::generate(&*entropy)?;
    write(
        name::OPERATOR_PUB,
        format!("{}\n", operator.public().to_openssh("operator")).as_bytes(),
    )?;
    let lock = |plain: &[u8]| secrets::passphrase_lock(plain, &passphrase, secrets::WORK_FACTOR);
    write(name::OPERATOR, &lock(&operator.encode())?)?;

    let epoch = NewEpoch::create(1, &recipients, &*entropy)?;
    write("epoch-1.age", &epoch.epoch_age)?;
    write("epoch-1.keys.age", &epoch.epoch_keys_age)?;
    let credential: SealCredential = epoch.credential();
    let public = format!(
        "{}\n{}\n",
        credential.data_recipient,
        credential.index_identity.recipient()
    );
    write("epoch-1.pub", public.as_bytes())?;
    write(name::SEAL, &lock(&credential.encode())?)?;

    let owner_note = if owners.is_empty() {
        format!("The owner's secret is {}: move it to a safe place, offline. Without it nobody opens the data.", to.join(name::OWNER).display())
    } else {
        "The data will be sealed for the recipients you named; their keys were not needed here."
            .to_string()
    };
    out.result(
        &format!(
            "Made keys in {}.\n{owner_note}\nNext: `asl-host dam create --keys {} --label NAME`.",
            to.display(),
            to.display()
        ),
        &json!({
            "keys": to,
            "owner_recipients": recipients.iter().map(Recipient::to_string).collect::<Vec<_>>(),
            "root": root.public().to_openssh(""),
            "operator": operator.public().to_openssh(""),
        }),
    )
}

fn make_private_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(path)
        .map_err(|e| Error::new(Kind::Io, "make", path.display(), e))
}

fn create_dam(keys: &Path, label: &str, days: Option<u32>, out: Out) -> Result<()> {
    let stick = KeyStick::open(keys)?;
    let context = context();
    let now = context.clock.wall_ns();
    let roots = RootSet::new(PublicKey::parse_file(&stick.text(name::ROOT_PUB)?)?, 1)?;
    let operators = PublicKey::parse_file(&stick.text(name::OPERATOR_PUB)?)?;
    let public = stick.text("epoch-1.pub")?;
    let [data_recipient, index_recipient]: [&str; 2] =
        public.lines().collect::<Vec<_>>().try_into().map_err(|_| {
            Error::new(
                Kind::Invalid,
                "read",
                "epoch-1.pub",
                "it does not hold two recipients",
            )
        })?;
    let owners = stick.text(name::OWNER_PUB)?;
    let genesis = Genesis {
        label: label.parse()?,
        nonce: context.nonce()?,
        host: roots
            .keys()
            .first()
            .map(PublicKey::id)
            .unwrap_or(asl_core::KeyId::from([0; 32])),
        time: Timestamp::claimed(now),
        params: StoreParams::standard(true),
        root_set: roots.digest(),
        threshold: roots.threshold(),
    };
    let dam = Dam {
        domain: genesis.hash(),
        genesis: genesis.encode(),
        sequence: 1,
        previous: None,
        roots,
        operators,
        encryption: Some(DomainEncryption {
            epoch: 1,
            data_recipient: data_recipient.to_string(),
            index_recipient: index_recipient.to_string(),
            owner_recipients: owners.lines().map(str::to_string).collect(),
            epoch_file: Digest::of(&stick.read("epoch-1.age")?),
            keys_file: Digest::of(&stick.read("epoch-1.keys.age")?),
        }),
        policy: DamPolicy {
            encrypted: true,
            outcomes: vec![AdmissionResult::Accepted, AdmissionResult::AcceptedLimited],
        },
        time: Timestamp::claimed(now),
        not_before: None,
        not_after: days
            .map(|d| Timestamp::claimed(now.saturating_add(i64::from(d) * 86_400_000_000_000))),
    };
    dam.check()?;
    let id = genesis.domain_id();
    stick.write(name::DAM, &dam.encode(), false)?;
    out.result(
        &format!(
            "Wrote the DAM of {id}.\nNext: `asl-host dam sign --keys {}`.",
            keys.display()
        ),
        &json!({ "domain_id": id.to_string(), "domain_hash": dam.domain.to_string() }),
    )
}

fn sign_dam(keys: &Path, root_key: Option<&Path>, out: Out) -> Result<()> {
    let stick = KeyStick::open(keys)?;
    let path = root_key.map_or_else(|| stick.path().join(name::ROOT_KEY), Path::to_path_buf);
    let key = SigningKey::decode(&zeroize::Zeroizing::new(files::read_limited(
        &path,
        64 << 10,
    )?))?;
    let bytes = stick.read(name::DAM)?;
    let sig = cose::sign(Dam::KIND, &bytes, &[&key])?;
    let verified = Dam::verify(&bytes, &sig, None)?;
    stick.write(name::DAM_SIG, &sig, false)?;
    let id = verified.genesis().domain_id();
    out.result(
        &format!("Signed the DAM of {id} with root key {}.\nNext: `asl-host key check`, then `asl-host key bundle`.", key.public().words()),
        &json!({ "domain_id": id.to_string(), "signed_by": key.id().to_string() }),
    )
}

fn verify_dam(keys: &Path, out: Out) -> Result<()> {
    let stick = KeyStick::open(keys)?;
    let signed = stick.dam()?;
    let verified = Dam::verify(&signed.bytes, &signed.sig, None)?;
    verified.check_time(Timestamp::claimed(context().clock.wall_ns()))?;
    let dam = verified.dam();
    let recipients = dam
        .encryption
        .as_ref()
        .map(|e| e.owner_recipients.clone())
        .unwrap_or_default();
    let mut text = format!(
        "The DAM holds.\n  domain    {}\n  number    {}\n  roots     {} of {} sign\n  operators {}\n",
        verified.genesis().domain_id(),
        dam.sequence,
        dam.roots.threshold(),
        dam.roots.keys().len(),
        dam.operators.len(),
    );
    for recipient in &recipients {
        text.push_str(&format!(
            "  sealed for {recipient}\n    words {}\n",
            recipient_words(recipient)
        ));
    }
    let ends = dam.not_after.map(|t| time(t.unix_ns));
    text.push_str(&format!(
        "  ends      {}\n",
        ends.as_deref().unwrap_or("never")
    ));
    out.result(
        &text,
        &json!({
            "domain_id": verified.genesis().domain_id().to_string(),
            "sequence": dam.sequence,
            "digest": verified.digest().to_string(),
            "owner_recipients": recipients,
            "not_after": ends,
        }),
    )
}

/// A recipient as words, the same on card, stick and screen.
pub fn recipient_words(recipient: &str) -> String {
    words(Digest::of(recipient.as_bytes()).as_bytes())
}

fn bundle(
    keys: &Path,
    to: &Path,
    hosts: &[String],
    profile: Option<&Path>,
    out: Out,
) -> Result<()> {
    let home = KeyStick::open(keys)?;
    let signed = home.dam()?;
    let verified = Dam::verify(&signed.bytes, &signed.sig, None)?;
    let hosts = hosts
        .iter()
        .map(|h| parse_host(h))
        .collect::<Result<Vec<_>>>()?;
    let stick = KeyStick::create(to)?;
    let proven = home
        .read_optional(name::PROVEN)?
        .zip(home.read_optional(name::PROVEN_SIG)?);
    if let Some((doc, sig)) = &proven {
        Proven::verify(doc, sig, &verified)?;
        stick.write(name::PROVEN, doc, true)?;
        stick.write(name::PROVEN_SIG, sig, true)?;
    }
    for epoch in home.epochs()? {
        stick.write(
            &format!("epoch-{}.age", epoch.number),
            &epoch.identity,
            true,
        )?;
        stick.write(
            &format!("epoch-{}.keys.age", epoch.number),
            &epoch.keys,
            true,
        )?;
    }
    stick.set_hosts(&hosts)?;
    if let Some(profile) = profile {
        let text = files::read_limited(profile, 64 << 10)?;
        crate::appliance::check_profile(&text, profile)?;
        stick.write(name::PROFILE, &text, true)?;
    }
    for file in [name::DAM, name::DAM_SIG, name::OPERATOR, name::OPERATOR_PUB] {
        stick.write(file, &home.read(file)?, true)?;
    }
    stick.write(
        &format!("roots/{}", name::ROOT_PUB),
        &home.read(name::ROOT_PUB)?,
        true,
    )?;
    stick.write(name::RECOVER, RECOVER.as_bytes(), true)?;
    let program = std::env::current_exe().and_then(std::fs::read);
    let program = program.map_err(|e| Error::new(Kind::Io, "read", "this program", e))?;
    files::replace(&stick.path().join("asl-host"), &program, 0o700)?;
    // The seal credential is what makes the directory a key stick: it comes last.
    stick.write(name::SEAL, &home.read(name::SEAL)?, true)?;
    let warning = if proven.is_some() {
        ""
    } else {
        "\nNot proven: run `asl-host key check` with the owner's key, then bundle again."
    };
    out.result(
        &format!("Wrote the key stick at {}. The owner's and the root's secrets are not on it.{warning}", to.display()),
        &json!({ "stick": to, "domain_id": verified.genesis().domain_id().to_string(), "proven": proven.is_some() }),
    )
}

fn parse_host(text: &str) -> Result<HostPin> {
    let bad = |why: &str| {
        Error::new(Kind::Usage, "read host", format!("{text:?}"), why).next(
            "give NAME=ADDRESS:PORT=PUBLIC-KEY, such as 'home=192.0.2.7:7643=ssh-ed25519 AAAA...'",
        )
    };
    let mut parts = text.splitn(3, '=');
    let (Some(name), Some(address), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(bad("it does not have three parts"));
    };
    PublicKey::from_openssh(key).map_err(|e| bad(e.why()))?;
    if name.is_empty() || !address.contains(':') {
        return Err(bad("name or port is missing"));
    }
    Ok(HostPin {
        name: name.into(),
        address: address.into(),
        key: key.into(),
    })
}

fn check(
    keys: &Path,
    identity: &Path,
    passphrase_file: Option<std::path::PathBuf>,
    out: Out,
) -> Result<()> {
    let stick = KeyStick::open(keys)?;
    let signed = stick.dam()?;
    let verified = Dam::verify(&signed.bytes, &signed.sig, None)?;
    let encryption = verified.dam().encryption.as_ref().ok_or_else(|| {
        Error::new(
            Kind::Refused,
            "check",
            "these keys",
            "their domain is not encrypted",
        )
    })?;
    let owner = read_identity(identity)?;
    let files_of_epoch = stick
        .epochs()?
        .into_iter()
        .find(|e| e.number == encryption.epoch)
        .ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                "check",
                "these keys",
                "the epoch's files are missing",
            )
        })?;
    // The very road of a block: sealed to the data recipient, opened by way of the owner's key.
    let probe = b"asl probe: what is sealed can be opened";
    let sealed = seal_to(&[encryption.data_recipient.parse()?], probe)?;
    let data = open_epoch(&files_of_epoch.identity, &owner)?;
    open_keys(&files_of_epoch.keys, &data)?;
    if *open_with(&data, &sealed)? != probe[..] {
        return Err(Error::new(
            Kind::Damage,
            "check",
            "these keys",
            "the probe came back changed",
        ));
    }
    let proven = Proven {
        data_recipient: encryption.data_recipient.clone(),
        owner_recipients: encryption.owner_recipients.clone(),
        time: Timestamp::claimed(context().clock.wall_ns()),
    }
    .encode();
    let order = Order {
        stick: keys.to_path_buf(),
        passphrase_file,
        proven: Some(proven.clone()),
        ..Order::default()
    };
    let unlocked = unlock(&order, out)?;
    let sig = unlocked.proven_sig.ok_or_else(|| {
        Error::new(
            Kind::Invalid,
            "sign",
            "the proof",
            "the unlocking child gave none",
        )
    })?;
    if unlocked.seal.index_identity.recipient().to_string() != encryption.index_recipient {
        return Err(Error::new(
            Kind::Refused,
            "check",
            "these keys",
            "the seal credential is of another epoch",
        ));
    }
    Proven::verify(&proven, &sig, &verified)?;
    stick.write(name::PROVEN, &proven, true)?;
    stick.write(name::PROVEN_SIG, &sig, true)?;
    out.result(
        "Proven: a probe was sealed for the domain and opened with the owner's key.",
        &json!({ "proven": true, "owner_recipients": encryption.owner_recipients }),
    )
}

/// Reads the owner's age identity file.
///
/// # Errors
/// `NotFound`, `Invalid`, and `Refused` for a kind that only the age tool opens.
pub fn read_identity(path: &Path) -> Result<OpenIdentity> {
    let bytes = zeroize::Zeroizing::new(files::read_limited(path, 64 << 10)?);
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Error::new(Kind::Invalid, "read", path.display(), "it is not text"))?;
    OpenIdentity::parse(text)
}
