// Rust's process library at work: children with pipes, environments, directories, statuses, signals, threads that spawn.
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{exit, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

fn me() -> Command {
    Command::new(env::args().next().unwrap())
}

fn child(mode: &str) -> i32 {
    let args: Vec<String> = env::args().skip(2).collect();
    match mode {
        "echo" => println!("{}", args.join(" ")),
        "exit" => return args[0].parse().unwrap(),
        "cat" => {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text).unwrap();
            std::io::stdout().write_all(&text).unwrap();
        }
        "upper" => {
            for line in std::io::stdin().lock().lines() {
                println!("{}", line.unwrap().to_uppercase());
            }
        }
        "env" => {
            let mut all: Vec<_> = env::vars().filter(|(k, _)| k.starts_with("T_")).collect();
            all.sort();
            println!("{:?}", all);
        }
        "where" => println!("{}", env::current_dir().unwrap().file_name().unwrap().to_string_lossy()),
        "abort" => std::process::abort(),
        "sleep" => thread::sleep(Duration::from_secs(100)),
        "both" => {
            println!("out");
            eprintln!("err");
        }
        _ => return 99,
    }
    0
}

fn main() {
    let mode = env::args().nth(1).unwrap_or_default();
    if !mode.is_empty() {
        exit(child(&mode));
    }
    let out = me().args(["echo", "hello", "from a child", ""]).output().unwrap();
    println!("{:?} {:?}", out.status.code(), String::from_utf8(out.stdout));
    for code in [0, 1, 77, 255] {
        println!("exit {:?}", me().arg("exit").arg(code.to_string()).status().unwrap().code());
    }
    let status = me().arg("abort").stderr(Stdio::null()).status().unwrap();
    println!("abort: {:?} {:?}", status.code(), status.signal());

    let mut kid = me().arg("sleep").spawn().unwrap();
    println!("still there: {:?}", kid.try_wait().unwrap().is_none());
    kid.kill().unwrap();
    println!("killed: {:?}", kid.wait().unwrap().signal());

    // More than a pipe holds, both ways.
    let text: Vec<u8> = (0..400_000u32).map(|i| (i * 7 % 251) as u8).collect();
    let mut kid = me().arg("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut to = kid.stdin.take().unwrap();
    let copy = text.clone();
    let writer = thread::spawn(move || to.write_all(&copy).unwrap());
    let mut back = Vec::new();
    kid.stdout.take().unwrap().read_to_end(&mut back).unwrap();
    writer.join().unwrap();
    println!("cat: {} {}", kid.wait().unwrap().success(), back == text);

    // A pipeline of three, line by line.
    let mut first = me().args(["echo", "one two"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut second = me().arg("upper").stdin(first.stdout.take().unwrap()).stdout(Stdio::piped()).spawn().unwrap();
    let third = me().arg("cat").stdin(second.stdout.take().unwrap()).output().unwrap();
    println!("pipeline: {:?} {} {}", String::from_utf8(third.stdout), first.wait().unwrap(), second.wait().unwrap());
    let mut talk = me().arg("upper").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut to = talk.stdin.take().unwrap();
    let mut from = BufReader::new(talk.stdout.take().unwrap());
    for word in ["ping", "pong"] {
        // The child's standard output is a pipe and is written a line at a time.
        writeln!(to, "{}", word).unwrap();
        let mut line = String::new();
        from.read_line(&mut line).unwrap();
        println!("answer {}", line.trim());
    }
    drop(to);
    println!("end {}", talk.wait().unwrap());

    let out = me().arg("env").env("T_B", "2").env("T_A", "one").env_remove("PATH").output().unwrap();
    print!("{}", String::from_utf8_lossy(&out.stdout));
    fs::create_dir_all("rust.dir").unwrap();
    let program = fs::canonicalize(env::args().next().unwrap()).unwrap();
    let out = Command::new(&program).arg("where").current_dir("rust.dir").output().unwrap();
    print!("{}", String::from_utf8_lossy(&out.stdout));
    let file = fs::File::create("rust.out").unwrap();
    let status = me().arg("both").stdout(file.try_clone().unwrap()).stderr(file).status().unwrap();
    println!("{} {:?}", status, fs::read_to_string("rust.out").unwrap().lines().count());

    for name in ["./no such program", "./rust.out", "./rust.dir"] {
        println!("{}: {:?}", name, Command::new(name).spawn().err().map(|e| (e.kind(), e.raw_os_error())));
    }
    println!("bad directory: {:?}", me().current_dir("nowhere").spawn().err().map(|e| e.kind()));
    // With a function between fork and exec the library cannot use posix_spawn.
    let status = unsafe { me().args(["exit", "5"]).pre_exec(|| Ok(())).status().unwrap() };
    println!("pre_exec: {}", status);
    let refused = unsafe { me().pre_exec(|| Err(std::io::Error::from_raw_os_error(13))).spawn() };
    println!("refused: {:?}", refused.err().map(|e| e.raw_os_error()));
    println!("group: {}", me().args(["exit", "0"]).process_group_of_its_own());

    // Many at once, from several threads.
    let start = Instant::now();
    let workers: Vec<_> = (0..4)
        .map(|t| {
            thread::spawn(move || {
                (0..10).map(|i| me().arg("exit").arg((t * 10 + i).to_string()).status().unwrap().code().unwrap()).sum::<i32>()
            })
        })
        .collect();
    let sum: i32 = workers.into_iter().map(|w| w.join().unwrap()).sum();
    println!("forty children: {} {}", sum, start.elapsed() < Duration::from_secs(60));
    let err = me().args(["echo", "replaced"]).exec();
    println!("exec came back: {}", err);
    exit(1);
}

trait Group {
    fn process_group_of_its_own(&mut self) -> bool;
}

extern "C" {
    fn setpgid(pid: i32, group: i32) -> i32;
    fn getpgid(pid: i32) -> i32;
}

impl Group for Command {
    fn process_group_of_its_own(&mut self) -> bool {
        unsafe { self.pre_exec(|| if setpgid(0, 0) == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }) };
        let mut kid = self.spawn().unwrap();
        let own = unsafe { getpgid(kid.id() as i32) } == kid.id() as i32;
        kid.wait().unwrap();
        own
    }
}
