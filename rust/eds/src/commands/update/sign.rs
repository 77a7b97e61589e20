//! `eds update sign` and `eds update add-signature`.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use edgesentry_chain::Hash;
use edgesentry_formats::times::parse_unix_ms;
use edgesentry_formats::{Destination, Destinations, Readers, describe};
use edgesentry_rs::signer::Pkcs11Uri;
use edgesentry_update::{Manifest, ManifestError, PublisherKey, SignedManifest};
use serde_json::json;

use super::{manifest_json, manifest_text, product, read_manifest};
use crate::exit::{Exit, Failure};
use crate::keys::{TokenArgs, program_signer};
use crate::output::{Answer, Output};
use crate::outputs::{self, cannot_write};
use crate::text::{count, name};

/// Write the manifest of an image, signed by one or more publishers
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds keygen -o publisher-a.seed
  eds update sign firmware.bin --name door-controller --version 42 \\
      --expires 2027-06-30T00:00:00Z --key publisher-a.seed -o firmware.manifest
  eds update add-signature firmware.manifest --key publisher-b.seed")]
pub(super) struct Sign {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// The product; a device accepts only updates of its own
    #[arg(long, value_name = "NAME", value_parser = product)]
    name: String,
    /// The version, a number that grows with each release
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    version: u64,
    /// The lowest version that devices accept after this one [default: the version]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    minimum_version: Option<u64>,
    /// The time from which devices refuse the manifest: 2027-06-30T00:00:00Z, or Unix milliseconds
    #[arg(long, value_name = "TIME", value_parser = parse_unix_ms)]
    expires: u64,
    #[command(flatten)]
    publishers: Publishers,
    /// The manifest to write
    #[arg(long, short, alias = "out", value_name = "FILE")]
    output: PathBuf,
}

/// Add signatures of publishers to a manifest
///
/// Compare the printed manifest with the release before you publish it: your signature approves it.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  eds update add-signature firmware.manifest --key publisher-b.seed")]
pub(super) struct AddSignature {
    /// The manifest, which is replaced; - reads stdin and writes stdout
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,
    #[command(flatten)]
    publishers: Publishers,
}

impl Sign {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let mut destinations = Destinations::default();
        outputs::read(&mut destinations, [("the image", Some(&self.image))]);
        outputs::read(&mut destinations, self.publishers.files());
        let destination = destinations.place("--output", &self.output)?;
        let keys = self.publishers.open()?;
        let (image_hash, image_size_bytes) = hash_of(&self.image)?;
        let manifest = Manifest {
            name: self.name.clone(),
            version: self.version,
            image_hash,
            image_size_bytes,
            minimum_version: self.minimum_version.unwrap_or(self.version),
            expires_ms: self.expires,
        };
        let signed = SignedManifest::new(manifest).map_err(unusable)?;
        conclude(output, signed, &keys, &destination, &self.output)
    }
}

impl AddSignature {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let mut destinations = Destinations::default();
        outputs::read(&mut destinations, self.publishers.files());
        let destination = destinations.place("MANIFEST", &self.manifest)?;
        let keys = self.publishers.open()?;
        conclude(output, read_manifest(&self.manifest)?, &keys, &destination, &self.manifest)
    }
}

/// Adds the signatures, writes the manifest and shows it.
fn conclude(
    output: &Output,
    mut signed: SignedManifest,
    keys: &[PublisherKey],
    destination: &Destination,
    path: &Path,
) -> Result<Exit, Failure> {
    for key in keys {
        signed.sign(key).map_err(unusable)?;
    }
    destination.write(Readers::Umask, &signed.to_bytes()).map_err(|error| cannot_write(path, &error))?;
    // A manifest on stdout has no other output beside it.
    if destination.is_stdout() {
        return Ok(Exit::Holds);
    }
    let signers: Vec<String> = signed.signers().map(hex::encode).collect();
    let content = json!({
        "file": path.display().to_string(),
        "manifest": manifest_json(signed.manifest()),
        "signers": signers,
    });
    let mut text = manifest_text(signed.manifest());
    text.push_str(&format!(
        "{} with {}:\n",
        name(&path.display().to_string()),
        count(signers.len() as u64, "signature")
    ));
    for signer in &signers {
        text.push_str(&format!("  {signer}\n"));
    }
    output.answer(&Answer { ok: true, name: "update", content: &content, text, failure: None })?;
    Ok(Exit::Holds)
}

/// The keys of publishers.
#[derive(Args, Debug)]
struct Publishers {
    /// The key of a publisher, a seed file or a PKCS#11 URI; may be given several times
    #[arg(long, required_unless_present = "signer", value_name = "KEY")]
    key: Vec<PathBuf>,
    /// Program that has the key of a publisher; may be given several times
    #[arg(long, value_name = "PROGRAM")]
    signer: Vec<PathBuf>,
    #[command(flatten)]
    token: TokenArgs,
}

impl Publishers {
    /// Returns the seed files, which are not overwritten.
    fn files(&self) -> impl Iterator<Item = (&str, Option<&PathBuf>)> {
        let files = self.key.iter().filter(|key| key.to_str().is_none_or(|text| !Pkcs11Uri::is_uri(text)));
        files.map(|key| ("a seed file", Some(key)))
    }

    fn open(&self) -> Result<Vec<PublisherKey>, Failure> {
        let keys = self.key.iter().map(|key| self.token.key(key));
        let programs = self.signer.iter().map(|program| program_signer(program));
        keys.chain(programs).map(|signer| Ok(PublisherKey::from_signer(signer?))).collect()
    }
}

fn unusable(error: ManifestError) -> Failure {
    match error {
        ManifestError::Signer(error) => error.into(),
        error => Failure::usage("update_unusable", describe(&error)),
    }
}

/// Returns hash and size of an image, read in pieces.
fn hash_of(path: &Path) -> Result<(Hash, u64), Failure> {
    let failed = |error: std::io::Error| {
        Failure::usage("file_unreadable", format!("{}: cannot read: {error}", path.display()))
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).map_err(failed)?).map_err(failed)?;
    Ok((Hash(*hasher.finalize().as_bytes()), hasher.count()))
}
