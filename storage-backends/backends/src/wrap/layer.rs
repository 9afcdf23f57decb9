//! The one mechanism of all wrappers: a layer that does something around each call of another backend.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use crate::{
    Answer, Backend, ByteStream, Content, Deletion, Health, Identity, Listing, ListingPage, Locator, Progress, Put,
    Source, Stat, UnitProof, UnitProofs,
};

/// The kind of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// See [`Backend::check`].
    Check,
    /// See [`Backend::identify`].
    Identify,
    /// See [`Backend::locate`].
    Locate,
    /// See [`Backend::put`].
    Put,
    /// See [`Backend::get`]; it ends with its stream.
    Get,
    /// See [`Backend::stat`].
    Stat,
    /// See [`Backend::delete`].
    Delete,
    /// See [`UnitProofs::unit_proof`].
    UnitProof,
    /// See [`Listing::list`].
    List,
}

impl Call {
    /// A short name.
    pub fn name(self) -> &'static str {
        match self {
            Call::Check => "check",
            Call::Identify => "identify",
            Call::Locate => "locate",
            Call::Put => "put",
            Call::Get => "get",
            Call::Stat => "stat",
            Call::Delete => "delete",
            Call::UnitProof => "unit_proof",
            Call::List => "list",
        }
    }
}

/// The arguments of a get.
#[derive(Clone, Debug)]
pub struct Read<'a> {
    /// What is read.
    pub content: &'a Content,
    /// Where it is.
    pub locator: &'a Locator,
    /// The bytes of it.
    pub range: Range<u64>,
}

impl<'a> Read<'a> {
    /// Reads this from a backend.
    pub fn at(&self, backend: &'a dyn Backend) -> Answer<'a, ByteStream> {
        backend.get(self.content, self.locator, self.range.clone())
    }
}

/// What a wrapper does around the calls of another backend. Clones share their state.
pub trait Layer: Clone + Debug + Send + Sync + 'static {
    /// Around any call without methods of its own here. `attempt` begins the call, and may do so several times.
    fn around<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        attempt: impl Fn() -> Answer<'a, T> + Send + Sync + 'a,
    ) -> Answer<'a, T>;

    /// Around a put, whose source may be replaced.
    fn put<'a>(
        &'a self,
        source: Arc<dyn Source>,
        attempt: impl Fn(Arc<dyn Source>) -> Answer<'a, Locator> + Send + Sync + 'a,
    ) -> Answer<'a, Locator> {
        self.around(Call::Put, move || attempt(Arc::clone(&source)))
    }

    /// Around a get, whose stream goes on after the answer.
    fn get<'a>(&'a self, inner: &'a Arc<dyn Backend>, read: Read<'a>) -> Answer<'a, ByteStream> {
        self.around(Call::Get, move || read.at(&**inner))
    }

    /// See [`Backend::verifies`].
    fn verifies(&self, inner: bool) -> bool {
        inner
    }

    /// See [`Backend::health`].
    fn health(&self, inner: Health) -> Health {
        inner
    }
}

/// A backend with a layer around it, and around each of its members.
#[derive(Clone, Debug)]
pub struct Layered<L> {
    pub(super) inner: Arc<dyn Backend>,
    pub(super) layer: L,
}

#[deny(clippy::missing_trait_methods)]
impl<L: Layer> Backend for Layered<L> {
    fn kind(&self) -> &str {
        self.inner.kind()
    }

    fn profile(&self) -> &str {
        self.inner.profile()
    }

    fn endpoint(&self) -> Option<String> {
        self.inner.endpoint()
    }

    fn members(&self) -> Vec<Arc<dyn Backend>> {
        let layered = |inner| Arc::new(Layered { inner, layer: self.layer.clone() }) as Arc<dyn Backend>;
        self.inner.members().into_iter().map(layered).collect()
    }

    fn copies(&self) -> u32 {
        self.inner.copies()
    }

    fn verifies(&self) -> bool {
        self.layer.verifies(self.inner.verifies())
    }

    fn check(&self) -> Answer<'_, ()> {
        self.layer.around(Call::Check, move || self.inner.check())
    }

    fn identify(&self) -> Answer<'_, Identity> {
        self.layer.around(Call::Identify, move || self.inner.identify())
    }

    fn locate(&self, source: Arc<dyn Source>) -> Answer<'_, Option<Locator>> {
        self.layer.around(Call::Locate, move || self.inner.locate(Arc::clone(&source)))
    }

    fn put<'a>(&'a self, source: Arc<dyn Source>, put: Put, progress: &'a dyn Progress) -> Answer<'a, Locator> {
        self.layer.put(source, move |source| self.inner.put(source, put, progress))
    }

    fn get<'a>(&'a self, content: &'a Content, locator: &'a Locator, range: Range<u64>) -> Answer<'a, ByteStream> {
        self.layer.get(&self.inner, Read { content, locator, range })
    }

    fn stat<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Stat> {
        self.layer.around(Call::Stat, move || self.inner.stat(content, locator))
    }

    fn delete<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Deletion> {
        self.layer.around(Call::Delete, move || self.inner.delete(content, locator))
    }

    fn health(&self) -> Health {
        self.layer.health(self.inner.health())
    }

    fn unit_proofs(&self) -> Option<&dyn UnitProofs> {
        self.inner.unit_proofs().map(|_| self as &dyn UnitProofs)
    }

    fn listing(&self) -> Option<&dyn Listing> {
        self.inner.listing().map(|_| self as &dyn Listing)
    }
}

impl<L: Layer> UnitProofs for Layered<L> {
    fn unit_proof<'a>(&'a self, content: &'a Content, locator: &'a Locator) -> Answer<'a, Option<Arc<dyn UnitProof>>> {
        let proofs = self.inner.unit_proofs();
        self.layer.around(Call::UnitProof, move || match proofs {
            Some(proofs) => proofs.unit_proof(content, locator),
            None => Box::pin(async { Ok(None) }),
        })
    }
}

impl<L: Layer> Listing for Layered<L> {
    fn list<'a>(&'a self, after: Option<&'a str>) -> Answer<'a, ListingPage> {
        let listing = self.inner.listing();
        self.layer.around(Call::List, move || match listing {
            Some(listing) => listing.list(after),
            None => Box::pin(async { Ok(ListingPage::default()) }),
        })
    }
}
