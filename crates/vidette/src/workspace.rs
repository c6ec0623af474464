use vidette_engine::Workspace;
pub fn register_schemas(_: &mut Workspace) {}
