//! Lowering of the relational operators, a file each.

mod aggregate;
mod join;
mod mv_expand;
mod project;
mod sort;
mod source;
mod union;
mod window;
