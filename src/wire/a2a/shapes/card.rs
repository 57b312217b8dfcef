//! The agent card of 1.0, whole: what a signature is over is its JSON.

use super::{Kind, Shape, field, many, map, one_of, shape, text};
use crate::wire::a2a::schema::Field;

static NAME: Field = text(2, "value");
static INTERFACE: Shape =
    shape(&[text(1, "url"), text(2, "protocolBinding"), text(3, "tenant"), text(4, "protocolVersion")]);
static PROVIDER: Shape = shape(&[text(1, "url"), text(2, "organization")]);
static EXTENSION: Shape = shape(&[
    text(1, "uri"),
    text(2, "description"),
    field(3, "required", Kind::Flag),
    field(4, "params", Kind::Struct),
]);
static CAPABILITIES: Shape = shape(&[
    field(1, "streaming", Kind::Flag),
    field(2, "pushNotifications", Kind::Flag),
    many(3, "extensions", Kind::Nested(&EXTENSION)),
    field(4, "extendedAgentCard", Kind::Flag),
]);
static API_KEY: Shape = shape(&[text(1, "description"), text(2, "location"), text(3, "name")]);
static HTTP_AUTH: Shape = shape(&[text(1, "description"), text(2, "scheme"), text(3, "bearerFormat")]);
static CODE_FLOW: Shape = shape(&[
    text(1, "authorizationUrl"),
    text(2, "tokenUrl"),
    text(3, "refreshUrl"),
    map(4, "scopes", &NAME),
    field(5, "pkceRequired", Kind::Flag),
]);
static CLIENT_FLOW: Shape = shape(&[text(1, "tokenUrl"), text(2, "refreshUrl"), map(3, "scopes", &NAME)]);
static IMPLICIT_FLOW: Shape = shape(&[text(1, "authorizationUrl"), text(2, "refreshUrl"), map(3, "scopes", &NAME)]);
static DEVICE_FLOW: Shape =
    shape(&[text(1, "deviceAuthorizationUrl"), text(2, "tokenUrl"), text(3, "refreshUrl"), map(4, "scopes", &NAME)]);
static FLOWS: Shape = shape(&[
    one_of(1, "authorizationCode", Kind::Nested(&CODE_FLOW)),
    one_of(2, "clientCredentials", Kind::Nested(&CLIENT_FLOW)),
    one_of(3, "implicit", Kind::Nested(&IMPLICIT_FLOW)),
    one_of(4, "password", Kind::Nested(&CLIENT_FLOW)),
    one_of(5, "deviceCode", Kind::Nested(&DEVICE_FLOW)),
]);
static OAUTH2: Shape =
    shape(&[text(1, "description"), field(2, "flows", Kind::Nested(&FLOWS)), text(3, "oauth2MetadataUrl")]);
static OPEN_ID: Shape = shape(&[text(1, "description"), text(2, "openIdConnectUrl")]);
static MTLS: Shape = shape(&[text(1, "description")]);
static SCHEME: Shape = shape(&[
    one_of(1, "apiKeySecurityScheme", Kind::Nested(&API_KEY)),
    one_of(2, "httpAuthSecurityScheme", Kind::Nested(&HTTP_AUTH)),
    one_of(3, "oauth2SecurityScheme", Kind::Nested(&OAUTH2)),
    one_of(4, "openIdConnectSecurityScheme", Kind::Nested(&OPEN_ID)),
    one_of(5, "mtlsSecurityScheme", Kind::Nested(&MTLS)),
]);
static SCHEMES: Field = field(2, "value", Kind::Nested(&SCHEME));
static LIST: Shape = shape(&[many(1, "list", Kind::Text)]);
static LISTS: Field = field(2, "value", Kind::Nested(&LIST));
static REQUIREMENT: Shape = shape(&[map(1, "schemes", &LISTS)]);
static SKILL: Shape = shape(&[
    text(1, "id"),
    text(2, "name"),
    text(3, "description"),
    many(4, "tags", Kind::Text),
    many(5, "examples", Kind::Text),
    many(6, "inputModes", Kind::Text),
    many(7, "outputModes", Kind::Text),
    many(8, "securityRequirements", Kind::Nested(&REQUIREMENT)),
]);
static SIGNATURE: Shape = shape(&[text(1, "protected"), text(2, "signature")]);
pub(super) static CARD: Shape = shape(&[
    text(1, "name"),
    text(2, "description"),
    many(3, "supportedInterfaces", Kind::Nested(&INTERFACE)),
    field(4, "provider", Kind::Nested(&PROVIDER)),
    text(5, "version"),
    text(6, "documentationUrl"),
    field(7, "capabilities", Kind::Nested(&CAPABILITIES)),
    map(8, "securitySchemes", &SCHEMES),
    many(9, "securityRequirements", Kind::Nested(&REQUIREMENT)),
    many(10, "defaultInputModes", Kind::Text),
    many(11, "defaultOutputModes", Kind::Text),
    many(12, "skills", Kind::Nested(&SKILL)),
    many(13, "signatures", Kind::Nested(&SIGNATURE)),
    text(14, "iconUrl"),
]);
