//! The check of an image as it arrives, in memory that does not depend on its size.

use edgesentry_chain::Hash;

use crate::manifest::Manifest;
use crate::refusal::Refusal;
use crate::state::Admitted;

/// The check of an image.
#[derive(Clone, Debug)]
pub struct Image {
    admitted: Admitted,
    hasher: blake3::Hasher,
    size_bytes: u64,
}

impl Image {
    pub(crate) fn new(admitted: Admitted) -> Image {
        Image { admitted, hasher: blake3::Hasher::new(), size_bytes: 0 }
    }

    /// Takes the next bytes of the image. Write them to the inactive partition meanwhile; do not run them yet.
    ///
    /// # Errors
    /// [`Refusal::ImageTooLong`] as soon as the image is longer than the manifest says, so that it cannot fill the medium.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let expected = self.admitted.manifest().image_size_bytes;
        let actual = self.size_bytes.saturating_add(bytes.len() as u64);
        if actual > expected {
            return Err(Refusal::ImageTooLong { expected });
        }
        self.hasher.update(bytes);
        self.size_bytes = actual;
        Ok(())
    }

    /// Ends the image.
    ///
    /// # Errors
    /// [`Refusal::ImageTruncated`], [`Refusal::ImageHash`].
    pub fn finish(self) -> Result<Verified, Refusal> {
        let Manifest { image_size_bytes, image_hash, .. } = *self.admitted.manifest();
        if self.size_bytes != image_size_bytes {
            let (expected, actual) = (image_size_bytes, self.size_bytes);
            return Err(Refusal::ImageTruncated { expected, actual });
        }
        let actual = Hash(*self.hasher.finalize().as_bytes());
        if actual != image_hash {
            return Err(Refusal::ImageHash { expected: image_hash, actual });
        }
        Ok(Verified { admitted: self.admitted })
    }
}

/// An update whose manifest and image hold. Only [`Image::finish`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    admitted: Admitted,
}

impl Verified {
    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        self.admitted.manifest()
    }

    /// Returns the number of trusted publishers that have signed.
    pub fn signatures(&self) -> usize {
        self.admitted.trusted().signatures()
    }

    pub(crate) fn admitted(&self) -> &Admitted {
        &self.admitted
    }
}
