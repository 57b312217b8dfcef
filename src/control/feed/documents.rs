use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use prost_types::Struct;
use tokio::sync::watch;

use super::DOCUMENT;
use super::report::Report;
use super::wire::Document;
use crate::control::assembly::{Assembly, Unenforced};
use crate::control::delta::{Keeper, Push, Rejected};
use crate::document::{Input, Source, read};

/// News that come within this time of each other are one.
const GATHER: Duration = Duration::from_millis(200);

/// Keeps the documents of the feed, and hands them to the assembly after every push.
pub struct Documents {
    assembly: Assembly,
    held: BTreeMap<String, Input>,
    first: Option<Box<dyn FnOnce() + Send>>,
    unenforced: watch::Receiver<Unenforced>,
    reported: Option<Unenforced>,
}

impl Documents {
    /// `first` is told once the first push is in force.
    pub fn new(assembly: Assembly, first: Box<dyn FnOnce() + Send>) -> Self {
        let unenforced = assembly.unenforced();
        Self { assembly, held: BTreeMap::new(), first: Some(first), unenforced, reported: None }
    }
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

#[tonic::async_trait]
impl Keeper for Documents {
    fn type_url(&self) -> &'static str {
        DOCUMENT
    }

    /// In force when it returns, so that the acknowledgement says so.
    async fn apply(&mut self, push: Push) -> Vec<Rejected> {
        let mut rejected = Vec::new();
        for name in &push.removed {
            self.held.remove(name);
        }
        for resource in push.resources {
            match input(&resource.name, &resource.body) {
                Ok(input) => drop(self.held.insert(resource.name, input)),
                Err(reason) => rejected.push(Rejected { name: resource.name, reason }),
            }
        }
        let offered = self.assembly.documents(self.held.values().cloned().collect(), Vec::new());
        if !self.assembly.in_force(offered).await {
            // The controller is not to say of anything that it is enforced here.
            let reason =
                "not in force: assembling has ended, and what was in force before stays until a restart".to_owned();
            rejected.push(Rejected { name: "documents".to_owned(), reason });
            return rejected;
        }
        if let Some(first) = self.first.take() {
            first();
        }
        rejected
    }

    fn report(&mut self) -> Option<Struct> {
        let all = Arc::clone(&self.unenforced.borrow_and_update());
        let report = Report::new(all.iter().map(|(name, why)| (name.as_str(), why.as_str())));
        self.reported = Some(all);
        Some(report.metadata())
    }

    async fn news(&mut self) {
        let reported = self.reported.as_ref();
        if self.unenforced.wait_for(|all| reported.is_none_or(|known| *known != *all)).await.is_err() {
            // The assembly has ended: there will be no news.
            return std::future::pending().await;
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// A document as it takes part. One that is no JSON closes what nobody knows: everything.
fn input(name: &str, body: &[u8]) -> Result<Input, String> {
    let document = Document::decode(body).map_err(|error| format!("is no document: {error}"))?;
    let text = String::from_utf8(document.json).map_err(|_bytes| "is not UTF-8".to_owned())?;
    let source = Source { file: Arc::new(PathBuf::from(name)), text };
    Ok(match read(&source) {
        Ok(reading) => Input::Current(Arc::new(reading)),
        Err(problem) => Input::Unknown(problem),
    })
}
