//! The Mainstay operator.

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    mainstay_controller::run(mainstay_controller::Settings::parse()).await
}
