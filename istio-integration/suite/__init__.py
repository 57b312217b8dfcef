"""One file per subject; `@test` functions run in the order of their files and lines."""
