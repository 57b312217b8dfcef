mod kept;
mod meshes;
mod property;
mod tables;
mod ways;
