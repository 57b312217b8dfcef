//! What is tried, in order, and what should come of it.

use rustls::AlertDescription as Alert;
use serde_json::json;

use super::issuer::Issuer;
use super::lab::Lab;
use super::outsiders::{self, Attempt};
use super::sessions::Session;
use super::show::{Actor, Asked, Expected, Show, Stranger};
use super::table::Decision;

pub(super) async fn play(show: &mut Show<'_>) -> anyhow::Result<()> {
    by_tool(show).await?;
    by_argument(show).await?;
    by_token(show).await?;
    by_identity(show).await?;
    to_an_agent(show).await?;
    round_the_waypoint(show).await
}

async fn enter(lab: &Lab, account: &str, token: Option<(&str, &str)>) -> anyhow::Result<Actor> {
    let door = lab.door("agents", account).await?;
    let session = Session::open(door, token.map(|(_, token)| token)).await;
    let label = match token {
        Some((subject, _)) => format!("agents/{account} for {subject}"),
        None => format!("agents/{account}"),
    };
    let session = session.map_err(|error| anyhow::anyhow!("{label} cannot open a session: {error}"))?;
    Ok(Actor { label, peer: lab.id("agents", account)?.uri().to_owned(), session })
}

async fn by_tool(show: &mut Show<'_>) -> anyhow::Result<()> {
    let researcher = enter(show.lab, "researcher", None).await?;
    let read = Expected::Allowed { by: "agents-read" };
    show.call(&researcher, "get_note", json!({"id": "n1"}), read).await?;
    show.list(&researcher, &["create_note", "get_note", "search_notes"]).await?;
    let denied = Expected::Denied { reason: "denied_by_rule", by: Some("nobody-deletes") };
    show.call(&researcher, "delete_note", json!({"id": "n1"}), denied).await?;
    // The same session: the refusal cost one call and nothing else.
    show.call(&researcher, "get_note", json!({"id": "n1"}), read).await?;
    researcher.session.close().await;
    Ok(())
}

async fn by_argument(show: &mut Show<'_>) -> anyhow::Result<()> {
    let researcher = enter(show.lab, "researcher", None).await?;
    let unmet = Expected::Denied { reason: "requirement_not_met", by: Some("own-org-only") };
    let note = |owner: &str| json!({"owner": owner, "text": "From the demo."});
    show.call(&researcher, "create_note", note("acme"), Expected::Allowed { by: "researchers-create" }).await?;
    show.call(&researcher, "create_note", note("globex"), unmet).await?;
    show.call(&researcher, "create_note", json!({"text": "Nobody's."}), unmet).await?;
    researcher.session.close().await;
    Ok(())
}

async fn by_token(show: &mut Show<'_>) -> anyhow::Result<()> {
    let update = json!({"id": "n1", "owner": "acme", "text": "Rotate the signing keys on Tuesday."});
    let (alice, bob) = (show.lab.issuer().token("alice")?, show.lab.issuer().token("bob")?);
    let for_alice = enter(show.lab, "assistant", Some(("alice", &alice))).await?;
    show.call(&for_alice, "update_note", update.clone(), Expected::Allowed { by: "alice-updates" }).await?;
    for_alice.session.close().await;
    let for_bob = enter(show.lab, "assistant", Some(("bob", &bob))).await?;
    show.call(&for_bob, "update_note", update, Expected::Denied { reason: "not_allowed", by: None }).await?;
    for_bob.session.close().await;
    let forged = Issuer::new()?.token("alice")?;
    let forger =
        Stranger { label: "agents/assistant, forged", namespace: "agents", account: "assistant", token: Some(&forged) };
    show.no_session(forger, 401, Decision::Refused).await
}

async fn by_identity(show: &mut Show<'_>) -> anyhow::Result<()> {
    let intern = Stranger { label: "agents/intern", namespace: "agents", account: "intern", token: None };
    show.no_session(intern, 403, Decision::Deny).await?;
    let lab = show.lab;
    let no_certificate = outsiders::without_certificate(lab.waypoint());
    let required = [Attempt::Alert(Alert::CertificateRequired)];
    show.attempt("nobody", "opens TLS without a certificate", no_certificate, &required).await?;
    // Which alert it is depends on whether the false CA has the true one's name.
    let alerts = [Alert::UnknownCA, Alert::CertificateUnknown, Alert::BadCertificate, Alert::DecryptError];
    let unknown = alerts.map(Attempt::Alert);
    for (uri, who, what) in [
        (
            "spiffe://evil.example/ns/agents/sa/researcher",
            "researcher of evil.example",
            "opens TLS, by another trust domain",
        ),
        ("spiffe://cluster.local/ns/agents/sa/researcher", "researcher, self-made", "opens TLS, by a CA of its own"),
    ] {
        let attempt = async {
            let identity = lab.foreign(uri)?;
            outsiders::with_certificate(&identity, lab.waypoint(), lab.expect_waypoint()).await
        };
        show.attempt(who, what, attempt, &unknown).await?;
    }
    Ok(())
}

async fn to_an_agent(show: &mut Show<'_>) -> anyhow::Result<()> {
    let hello = json!({"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "What is 6 times 7?"}]});
    let asks = Expected::Allowed { by: "agents-ask" };
    let send = Asked::Rpc("SendMessage", json!({"message": hello}));
    show.ask("researcher", "SendMessage, of A2A", &send, asks).await?;
    let get = Asked::Get("GetTask", "/tasks/task-1");
    show.ask("researcher", "GetTask of its task, over HTTP+JSON", &get, asks).await?;
    // As if the task did not exist.
    let foreign = Expected::Denied { reason: "not_owner", by: None };
    show.ask("assistant", "GetTask of another's task", &get, foreign).await?;
    let hook = json!({"taskPushNotificationConfig": {"url": "http://169.254.169.254/latest"}});
    let hooked = Asked::Rpc("SendMessage", json!({"message": hello, "configuration": hook}));
    let screened = Expected::Denied { reason: "push_url", by: None };
    show.ask("researcher", "SendMessage, to be called back at 169.254.169.254", &hooked, screened).await?;
    let cancel = Asked::Rpc03("CancelTask", "tasks/cancel", json!({"id": "task-1"}));
    let unlisted = Expected::Denied { reason: "not_allowed", by: None };
    show.ask("researcher", "CancelTask, by its name of A2A 0.3", &cancel, unlisted).await
}

async fn round_the_waypoint(show: &mut Show<'_>) -> anyhow::Result<()> {
    let lab = show.lab;
    let app = lab.place().app;
    let plain = async { Ok(outsiders::plaintext(app).await) };
    show.attempt("nobody", "the server itself, in plaintext", plain, &[Attempt::Reset]).await?;
    let direct = async {
        let (addr, expect) = lab.server_hbone()?;
        let identity = lab.identity("agents", "researcher")?;
        Ok(outsiders::tunnel(identity, addr, expect, &app.to_string()).await)
    };
    show.attempt("agents/researcher", "the server itself, by HBONE", direct, &[Attempt::Status(403)]).await
}
