use prost_types::Struct;

/// Keeps the resources of one type.
#[tonic::async_trait]
pub trait Keeper: Send {
    /// The type's URL, `type.googleapis.com/..`
    fn type_url(&self) -> &'static str;

    /// Takes a push. What is good of it must be taken whatever else is in it; the rest is named in the answer, which
    /// refuses it, and what was kept under those names before stays. The push is acknowledged when this returns: not before
    /// it is in force, where the server is to know that.
    async fn apply(&mut self, push: Push) -> Vec<Rejected>;

    /// Whether nothing of a push may be taken, as it is of a state before the one that is kept: why. That ends the stream, and
    /// another server may answer the next. Never, by default.
    fn refuses(&mut self, _push: &Push) -> Option<String> {
        None
    }

    /// What the server is to know beside: it goes with every answer of this type, as metadata of the node. None by default.
    fn report(&mut self) -> Option<Struct> {
        None
    }

    /// Waits until there is another report than the one that was last given; it is sent then, without a push that it
    /// answers. May be dropped at any time. Never, by default.
    async fn news(&mut self) {
        std::future::pending().await
    }
}

/// What one response says of one type.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Push {
    /// The state that it is of, as the server names it; may be empty.
    pub version: String,
    /// New or changed, each name once.
    pub resources: Vec<Resource>,
    /// Names of resources that are no more. None of them is among `resources`.
    pub removed: Vec<String>,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its name, never empty.
    pub name: String,
    /// The server's version of it; may be empty.
    pub version: String,
    /// Its message, encoded.
    pub body: Vec<u8>,
}

/// A resource that was not taken, and why, for the server's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}
