mod commands;
mod workspace;
use vidette_engine::Clock;
#[tokio::main]
async fn main() {
    let check = std::env::args().any(|a| a == "--check");
    let _ = commands::batch::run(check, Clock::now()).await;
}
