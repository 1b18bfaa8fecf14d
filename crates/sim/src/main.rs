//! The program `sim`: see `sim --help`.

fn main() {
    let seed = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    let outcome = stacksync_sim::run(&stacksync_sim::Scenario::of(seed));
    println!("{seed}: {} steps, {:?}", outcome.steps, outcome.failure);
}
