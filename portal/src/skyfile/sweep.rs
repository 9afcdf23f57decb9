//! The sweep: marks sectors that pins reach, removes the rest.

use std::io;

use skynet_formats::skylink::Target;

use super::{OpenError, ParsedMetadata, Skyfile, Skyfiles};
use crate::sectors::Swept;

impl Skyfiles {
    /// Removes the sectors that no pin reaches, unless `stop` returns true first. Callers run one sweep at a time.
    /// Blocks. [`Pins`](crate::pins::Pins) explains why it removes no sector that is needed.
    pub(crate) fn sweep(&self, salts: [u64; 4], stop: impl Fn() -> bool) -> io::Result<Swept> {
        // This must come before any pin is read.
        let sweep = self.sectors.begin_sweep(salts)?;
        self.pins.walk(|skylink| {
            if stop() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            // The sweep reads each pin once. If it kept the metadata, that would evict metadata of readers.
            let unkept = ParsedMetadata::default();
            match Skyfile::open(&self.sectors.clone().into(), &unkept, skylink) {
                Ok(Some(skyfile)) => skyfile.roots().for_each(|root| sweep.mark(&root)),
                Ok(None) => tracing::warn!(%skylink, "the base sector of a pinned skyfile is not here"),
                Err(OpenError::Io(error)) => return Err(error),
                // The portal itself never makes such a pin.
                Err(error) => {
                    tracing::warn!(%skylink, %error, "a pinned skyfile cannot be read");
                    if let Target::Sector { root, .. } = skylink.target() {
                        sweep.mark(&root);
                    }
                }
            }
            Ok(())
        })?;
        sweep.remove_unreached()
    }
}
