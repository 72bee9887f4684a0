//! A world whose processes are threads of one: what `mpirun` starts, without MPI.
use nijimi_trainer::world::{Said, Share, World};
use std::rc::Rc;
use std::sync::{Arc, Barrier, Mutex};

struct Meeting {
    barrier: Barrier,
    said: Mutex<Vec<Said>>,
    values: Mutex<Vec<Vec<f32>>>,
}

/// One of the threads.
struct Threads {
    share: Share,
    meeting: Arc<Meeting>,
}

impl World for Threads {
    fn share(&self) -> Share {
        self.share
    }
    fn gather(&self, said: Said) -> Vec<Said> {
        let m = &self.meeting;
        m.said.lock().expect("said")[self.share.rank] = said;
        m.barrier.wait();
        let all = m.said.lock().expect("said").clone();
        m.barrier.wait();
        all
    }
    fn sum(&self, values: &mut [f32]) {
        let m = &self.meeting;
        m.values.lock().expect("values")[self.share.rank] = values.to_vec();
        m.barrier.wait();
        {
            let all = m.values.lock().expect("values");
            assert!(all.iter().all(|v| v.len() == values.len()), "all give equally many");
            values.iter_mut().enumerate().for_each(|(i, v)| *v = all.iter().map(|a| a[i]).sum());
        }
        m.barrier.wait();
    }
}

/// Does `work` in `size` processes, and gives what each made of it, by rank.
pub fn together<T: Send>(size: usize, work: impl Fn(Rc<dyn World>) -> T + Sync) -> Vec<T> {
    let meeting = Arc::new(Meeting {
        barrier: Barrier::new(size),
        said: Mutex::new(vec![Said::default(); size]),
        values: Mutex::new(vec![Vec::new(); size]),
    });
    std::thread::scope(|scope| {
        let start = |rank| {
            let (meeting, work) = (meeting.clone(), &work);
            scope.spawn(move || work(Rc::new(Threads { share: Share { rank, size }, meeting })))
        };
        let threads: Vec<_> = (0..size).map(start).collect();
        threads.into_iter().map(|t| t.join().expect("a process")).collect()
    })
}
