//! A hidden refusal is the server's own answer to a name that it does not have, to the byte and in its headers.
