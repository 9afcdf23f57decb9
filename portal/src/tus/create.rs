//! New uploads: empty ones, and final ones made of parts.

use std::sync::Arc;
use std::time::SystemTime;

use content_store::UploadId;
use content_store::digest::{Algorithm, Digest};
use serving::{Holder, Permit};

use super::concatenation::Concatenation;
use super::record::Record;
use super::session::{Held, Session};
use super::skyfile_metadata::skyfile_metadata;
use super::upload_metadata::UploadMetadata;
use super::{Status, TusError, Uploads};

impl Uploads {
    /// Makes an upload of `length` bytes, or a part of one. An upload without bytes is finished at once.
    pub(crate) async fn create(
        self: &Arc<Self>,
        holder: Holder,
        partial: bool,
        length: u64,
        metadata: UploadMetadata,
    ) -> Result<Status, TusError> {
        let id = UploadId::from_random(random());
        self.check_length(length)?;
        if !partial {
            self.check_metadata(&metadata, length, &id)?;
        }
        let concatenation = if partial { Concatenation::Partial } else { Concatenation::None };
        let record = new_record(concatenation, length, 0, metadata);
        let session = Arc::new(Session::new(id, &record, self.place(holder).await?));
        let (uploads, made) = (Arc::clone(self), Arc::clone(&session));
        self.blocking(move || {
            uploads.staging.check_room(length)?;
            uploads.staging.create(&made.id, record)?;
            uploads.sessions.lock().insert(made.id.clone(), made);
            Ok(())
        })
        .await?;
        if session.is_to_be_finished() {
            self.finish(&session).await?;
        }
        Ok(self.status_of(&session))
    }

    /// Makes a final upload of complete parts, and finishes it. Equal parts with equal metadata are the same upload.
    pub(crate) async fn concatenate(
        self: &Arc<Self>,
        holder: Holder,
        parts: Vec<UploadId>,
        metadata: UploadMetadata,
    ) -> Result<Status, TusError> {
        let id = final_id(&parts, &metadata);
        let place = if self.sessions.find(&id).is_ok() { None } else { Some(self.place(holder).await?) };
        let (session, new) = match self.claim(&id, parts, metadata, place)? {
            Claimed::Before(session) => (session, None),
            Claimed::Now(session, record, held) => (session, Some((record, held))),
        };
        if let Some((record, held)) = new {
            let (uploads, made) = (Arc::clone(self), Arc::clone(&session));
            self.blocking(move || {
                let stored = uploads.staging.create(&made.id, record);
                stored.inspect_err(|_| uploads.sessions.remove(&made))?;
                drop(held);
                Ok(())
            })
            .await?;
        }
        self.finish(&session).await?;
        Ok(self.status_of(&session))
    }

    /// Adds a final upload to the table and claims its parts, all at once, unless it is in the table already.
    fn claim(
        &self,
        id: &UploadId,
        parts: Vec<UploadId>,
        metadata: UploadMetadata,
        place: Option<Permit>,
    ) -> Result<Claimed, TusError> {
        let mut table = self.sessions.lock();
        if let Some(session) = table.get(id) {
            return Ok(Claimed::Before(Arc::clone(session)));
        }
        let claimed: Vec<Arc<Session>> =
            parts.iter().map(|part| table.get(part).cloned().ok_or(TusError::Unknown)).collect::<Result<_, _>>()?;
        for part in &claimed {
            if part.concatenation != Concatenation::Partial {
                return Err(TusError::NotPartial);
            }
            let view = part.view();
            if view.claimed_by.is_some() || view.skylink.is_some() {
                return Err(TusError::PartUsed);
            }
            if view.offset != part.length {
                return Err(TusError::PartIncomplete);
            }
        }
        let length = claimed.iter().fold(0_u64, |sum, part| sum.saturating_add(part.length));
        self.check_length(length)?;
        self.check_metadata(&metadata, length, id)?;
        let record = new_record(Concatenation::Final(parts), length, length, metadata);
        // Without one, an equal upload ended just now. The client asks again.
        let session = Arc::new(Session::new(id.clone(), &record, place.ok_or(TusError::Busy)?));
        // Locked until its files exist. No other request can have the lock.
        let held = session.try_hold()?;
        for part in claimed {
            part.view().claimed_by = Some(id.clone());
        }
        table.insert(id.clone(), Arc::clone(&session));
        Ok(Claimed::Now(session, record, held))
    }

    fn check_length(&self, length: u64) -> Result<(), TusError> {
        let limit = self.limits.max_upload;
        if length > limit { Err(TusError::TooLarge { length, limit }) } else { Ok(()) }
    }

    /// Checks the metadata now, because a refusal is better before many bytes than after them.
    fn check_metadata(&self, metadata: &UploadMetadata, length: u64, id: &UploadId) -> Result<(), TusError> {
        let limit = self.limits.max_metadata;
        match skyfile_metadata(metadata, length, id)?.len() {
            length if length > limit => Err(TusError::MetadataTooLong { length, limit }),
            _ => Ok(()),
        }
    }
}

/// The result of a request for a final upload.
enum Claimed {
    /// An earlier request made it.
    Before(Arc<Session>),
    /// It is in the table now, and has no files yet.
    Now(Arc<Session>, Record, Held),
}

fn new_record(concatenation: Concatenation, length: u64, offset: u64, metadata: UploadMetadata) -> Record {
    let now = SystemTime::now();
    Record { concatenation, length, offset, metadata, skylink: None, started: now, last_activity: now }
}

/// The id of a final upload. It cannot be guessed without the ids of the parts, and a repeated request gets the same
/// one.
fn final_id(parts: &[UploadId], metadata: &UploadMetadata) -> UploadId {
    let parts: Vec<&str> = parts.iter().map(UploadId::as_str).collect();
    let text = format!("final upload\n{}\n{}", parts.join(" "), metadata.to_header());
    let digest = Digest::of(Algorithm::Sha256, text.as_bytes());
    digest.encoded()[..32].parse().expect("32 hex digits are an upload id")
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness once it has booted");
    bytes
}
