//! Whether a call may go on: compiles documents to rules, and decides on facts.
//!
//! Input: `AgentPolicy` and `AuthorizationPolicy` specs that `mesh` selected for one port, and the [`Facts`] of one call.
//! Output: a [`Decision`]. Pure and synchronous: no I/O, no clock (`token` is handed one), nothing kept between calls.
//! Order: deny, require, allow, then the default. What cannot be decided is refused.

pub mod names;
pub mod token;

mod a2a;
mod a2a_names;
mod agent;
mod answers;
mod caller;
mod card;
mod cel;
mod compile;
mod custom;
mod decide;
mod decision;
mod explain;
mod facts;
mod hint;
mod istio;
mod labels;
mod limit;
mod matcher;
mod object;
mod pattern;
mod pins;
mod problems;
mod reading;
mod revision;
mod rule;
mod rules;
mod scope;
mod source;
mod truth;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

pub use a2a::{A2aSettings, caller};
pub use answers::{Answered, Redactor};
pub use caller::Viewer;
pub use card::CardFault;
pub use cel::{Ty, on_compile_thread};
pub use compile::{check_agent_policy, check_authorization_policy, compile};
pub use custom::{Ask, BodyTerms, Edits, HttpTerms, Names, Provider, Providers, Speaks, Verdicts, Word};
pub use decision::{Decision, Denial, Permit, Reason, RuleName, Shadow};
pub use explain::{Explanation, Finding, Outcome};
pub use facts::{Destination, Facts};
pub use labels::{Labelled, Labeller, SupposedLabels};
pub use limit::{Charge, Pace};
pub use pins::Pinned;
pub use revision::Revision;
pub use rules::{RuleSet, Rules};
pub use token::{Claims, JwtRule, TokenFault, Unverified, Verified, Verifier};
