use rederive_env::*;
use rederive_tabular::*;
use std::time::Instant;
fn random<P: rederive_math::Real>(s: usize, a: usize, k: usize) -> Mdp<P> {
    let mut st = 88172645463325252u64;
    let mut rng = || {
        st ^= st << 13;
        st ^= st >> 7;
        st ^= st << 17;
        st
    };
    let mut b = Mdp::builder(s);
    b.reserve(s * a, s * a * k);
    let mut row = vec![];
    for _ in 0..s {
        for _ in 0..a {
            row.clear();
            let mut t = 0.0;
            let r = (rng() >> 11) as f64 / (1u64 << 53) as f64;
            for _ in 0..k {
                let p = (rng() >> 11) as f64;
                t += p;
                row.push(Outcome { prob: p, next: (rng() % s as u64) as u32, reward: r, terminated: false });
            }
            row.iter_mut().for_each(|o| o.prob /= t);
            b.action(&row).unwrap();
        }
        b.end_state().unwrap();
    }
    b.finish().unwrap()
}
fn show(n: &str, f: impl Fn() -> Result<Solution, SolveError>) {
    let mut best = f64::MAX;
    let mut out = None;
    for _ in 0..3 {
        let t = Instant::now();
        let r = f();
        best = best.min(t.elapsed().as_secs_f64());
        out = Some(r);
        if best > 2.0 {
            break;
        }
    }
    match out.unwrap() {
        Ok(s) => println!(
            "{n:10} {:8.1} ms it {} sweeps {:.1} res {:.1e} bound {:.1e} v0 {:.9}",
            best * 1e3,
            s.iterations,
            s.sweeps,
            s.residual,
            s.error_bound,
            s.value[0]
        ),
        Err(e) => println!("{n}: {e}"),
    }
}
fn all<P: rederive_math::Real>(m: &Mdp<P>, o: &Options, slow: bool) {
    show("vi", || value_iteration(m, o));
    show("mpi", || modified_policy_iteration(m, o));
    show("ipi", || inexact_policy_iteration(m, o));
    show("pi", || policy_iteration(m, o));
    show("gs", || gauss_seidel(m, o));
    if slow {
        show("ps", || prioritized_sweeping(m, o));
        show("qvi", || q_value_iteration(m, o));
    }
}
fn main() {
    let arg = std::env::args().nth(1).unwrap_or_default();
    for g in [0.99, 0.9999] {
        for th in [1, 2] {
            println!("gamma {g} threads {th}");
            let o = Options { threads: th, ..Options::new(g) };
            for id in ["FrozenLake-v1", "FrozenLake8x8-v1", "Taxi-v3", "CliffWalking-v1"] {
                println!("{id}");
                let t = finite_table(id).unwrap();
                let m = Mdp::<f64>::from_table(&t);
                all(&m, &o, true);
                show("rtdp", || rtdp(&m, t.start(), &o, 1));
            }
            println!("100k");
            all(&random::<f64>(100_000, 8, 8), &o, false);
            if arg == "big" {
                println!("100k f32");
                all(&random::<f32>(100_000, 8, 8), &Options { tol: 1e-2, ..o }, false);
                println!("1M");
                all(&random::<f64>(1_000_000, 4, 4), &o, false);
            }
        }
    }
}
