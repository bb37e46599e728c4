//! Encrypted connections: our server and our client with GnuTLS's programs (libnbd, nbdkit, QEMU) at the other end.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use system_tests::programs::{peer, program, run};
use system_tests::socket::listens;
use tempfile::TempDir;

/// A directory of certificates and keys, made by certtool and psktool, with an image in it.
struct House(TempDir);

const CERTIFICATES: &str = r#"set -e
sign() { certtool --generate-certificate --load-ca-certificate $1/ca-cert.pem --load-ca-privkey $1/ca-key.pem --load-privkey $2-key.pem --template $2.info --outfile $2-cert.pem; }
authority() { mkdir $1; certtool --generate-privkey --key-type=ecdsa --outfile $1/ca-key.pem; printf "cn = $1\nca\ncert_signing_key\ncrl_signing_key\nexpiration_days=3650\n" > $1/ca.info; certtool --generate-self-signed --load-privkey $1/ca-key.pem --template $1/ca.info --outfile $1/ca-cert.pem; }
role() { certtool --generate-privkey --key-type=$4 --outfile $1/$2-key.pem; printf "cn = a $2\ndns_name = localhost\nip_address = 127.0.0.1\ntls_www_$2\nsigning_key\nencryption_key\n$5\n" > $1/$2.info; sign $3 $1/$2; }
authority good; authority other
role good server good 'rsa --bits=2048' expiration_days=3650; role good client good 'rsa --bits=2048' expiration_days=3650; role other client other ecdsa expiration_days=3650
cp other/client-* other/ca-cert.pem .; mkdir mixed; cp good/ca-cert.pem mixed; mv client-* mixed; rm ca-cert.pem
mkdir expired; role expired server good ecdsa 'activation_date = "2020-01-01 00:00:00"
expiration_date = "2021-01-01 00:00:00"'; cp good/ca-cert.pem expired
cp -r good revoking; printf "crl_next_update = 300\ncrl_number = 1\n" > crl.info
certtool --generate-crl --load-ca-privkey good/ca-key.pem --load-ca-certificate good/ca-cert.pem --load-certificate good/client-cert.pem --template crl.info --outfile revoking/ca-crl.pem
mkdir rich; cp good/ca-cert.pem rich; role rich client good ecdsa 'country = GB
organization = "Ours, + <Co>"'
printf '{"policy": "deny", "rules": [{"match": "C=GB,*", "policy": "allow", "format": "glob"}]}' > rules.json
mkdir anonymous; cp good/ca-cert.pem anonymous; mkdir keys
psktool -u alice -p keys/keys.psk; psktool -u qemu -p keys/keys.psk; sed 's/alice:..../alice:0000/' keys/keys.psk > wrong.psk; sed 's/alice/eve/' keys/keys.psk > eve.psk
head -c 3145728 /dev/urandom > image; head -c 3145728 /dev/zero > empty"#;

impl House {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let output =
            Command::new("bash").args(["-c", CERTIFICATES]).current_dir(directory.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        House(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// The URI of a socket, with certificates or a key.
    fn uri(&self, socket: &str, credentials: &str) -> String {
        let (user, credentials) = match credentials.strip_suffix(".psk") {
            Some("eve") => ("eve@", format!("tls-psk-file={}", self.path("eve.psk"))),
            Some(_) => ("alice@", format!("tls-psk-file={}", self.path(credentials))),
            None => ("", format!("tls-certificates={}", self.path(credentials))),
        };
        format!("nbds+unix://{user}/?socket={}&{credentials}", self.path(socket))
    }

    fn has_image(&self, copy: &str) {
        assert!(fs::read(self.path(copy)).unwrap() == fs::read(self.path("image")).unwrap(), "{copy}");
    }
}

/// A server that ends with the test.
struct Running(Child);

impl Running {
    /// Starts it and waits for its socket.
    fn start(command: &mut Command, socket: &Path) -> Self {
        let mut running = Running(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        let start = Instant::now();
        while !listens(socket) {
            assert!(running.0.try_wait().unwrap().is_none(), "{command:?} ended");
            assert!(start.elapsed() < Duration::from_secs(60), "{command:?} does not listen");
            sleep(Duration::from_millis(5));
        }
        running
    }

    /// Ours, with an image and further options.
    fn ours(house: &House, socket: &str, image: &str, options: &[&str]) -> Self {
        let mut command = Command::new(program("nbd"));
        command.args(["serve", "-k", &house.path(socket), "-f", "raw"]).args(options).arg(house.path(image));
        Running::start(&mut command, &house.0.path().join(socket))
    }

    fn theirs(house: &House, socket: &str, name: &str, options: &[&str]) -> Self {
        let listen = if name == "nbdkit" { ["-f", "-U"] } else { ["-t", "-k"] };
        let mut command = Command::new(name);
        command.args(listen).arg(house.path(socket)).args(options);
        Running::start(&mut command, &house.0.path().join(socket))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn fails(output: &Output, words: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains(words), "'{words}' is expected: {text}");
}

#[test]
fn their_clients_at_our_server() {
    let house = House::new();
    for (number, (options, credentials)) in [
        (vec!["--tls-certificates", "good"], "good"),
        (vec!["--tls-certificates", "good", "--tls-verify-peer"], "good"),
        (vec!["--tls-psk", "keys/keys.psk"], "keys/keys.psk"),
    ]
    .into_iter()
    .enumerate()
    {
        let socket = format!("s{number}");
        fs::copy(house.path("empty"), house.path("target")).unwrap();
        let path = house.path(options[1]);
        let options: Vec<&str> =
            [options[0], path.as_str()].into_iter().chain(options[2..].iter().copied()).collect();
        let _server = Running::ours(&house, &socket, "target", &options);
        let uri = house.uri(&socket, credentials);
        assert!(peer("nbdinfo", &[&uri]).starts_with("protocol: newstyle-fixed with TLS"));
        peer("nbdcopy", &[&house.path("image"), &uri]);
        house.has_image("target");
        peer("nbdcopy", &[&uri, &house.path("copy")]);
        house.has_image("copy");
        let object = match credentials.strip_suffix("/keys.psk") {
            Some(directory) => format!("tls-creds-psk,id=t,endpoint=client,dir={}", house.path(directory)),
            None => format!("tls-creds-x509,id=t,endpoint=client,dir={}", house.path(credentials)),
        };
        let name = if credentials == "good" { ",tls-hostname=localhost" } else { "" };
        let opts =
            format!("driver=nbd,server.type=unix,server.path={},tls-creds=t{name}", house.path(&socket));
        let text = peer(
            "qemu-img",
            &["convert", "--object", &object, "--image-opts", &opts, "-O", "raw", &house.path("copy2")],
        );
        assert_eq!(text, "");
        house.has_image("copy2");
    }
}

#[test]
fn our_client_at_their_servers() {
    let house = House::new();
    let (good, keys) = (house.path("good"), house.path("keys/keys.psk"));
    let (good, keys) = (format!("--tls-certificates={good}"), format!("--tls-psk={keys}"));
    let target = house.path("target");
    let file = ["file", target.as_str()];
    let x509 = format!("tls-creds-x509,id=t,endpoint=server,verify-peer=on,dir={}", house.path("good"));
    let psk = format!("tls-creds-psk,id=t,endpoint=server,dir={}", house.path("keys"));
    let qemu = |object| vec!["--object", object, "--tls-creds", "t", "-f", "raw", target.as_str()];
    for (number, (name, options, credentials)) in [
        ("nbdkit", [&["--tls=require", &good], &file[..]].concat(), "good"),
        ("nbdkit", [&["--tls=require", &good, "--tls-verify-peer"], &file[..]].concat(), "good"),
        ("nbdkit", [&["--tls=require", &keys], &file[..]].concat(), "keys/keys.psk"),
        ("qemu-nbd", qemu(&x509), "good"),
        ("qemu-nbd", qemu(&psk), "keys/keys.psk"),
    ]
    .into_iter()
    .enumerate()
    {
        let socket = format!("s{number}");
        fs::copy(house.path("empty"), &target).unwrap();
        let _server = Running::theirs(&house, &socket, name, &options);
        let uri = house.uri(&socket, credentials);
        let ours = |arguments: &[&str]| {
            let output = run("nbd", arguments);
            assert!(
                output.status.success(),
                "{name} {options:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(ours(&["info", &uri]).starts_with("protocol: newstyle-fixed with TLS"));
        ours(&["copy", &house.path("image"), &uri]);
        house.has_image("target");
        ours(&["copy", &uri, &house.path("copy")]);
        house.has_image("copy");
    }
}

#[test]
fn our_server_refuses_strangers() {
    let house = House::new();
    let certificates = |name: &str, directory: &str| {
        let directory = house.path(directory);
        Running::ours(&house, name, "image", &["-r", "--tls-certificates", &directory, "--tls-verify-peer"])
    };
    let _server = certificates("good.s", "good");
    let _revoking = certificates("revoking.s", "revoking");
    let _keys = Running::ours(&house, "keys.s", "image", &["-r", "--tls-psk", &house.path("keys/keys.psk")]);
    let ask = |socket: &str, credentials: &str| {
        Command::new("nbdinfo").args(["--size", &house.uri(socket, credentials)]).output().unwrap()
    };
    // Nobody is refused for no reason.
    for (socket, credentials) in [("good.s", "good"), ("keys.s", "keys/keys.psk")] {
        assert_eq!(ask(socket, credentials).stdout, b"3145728\n");
    }
    for (socket, credentials) in [
        ("good.s", "anonymous"),
        ("good.s", "mixed"),
        ("revoking.s", "good"),
        ("good.s", "keys/keys.psk"),
        ("keys.s", "wrong.psk"),
        ("keys.s", "eve.psk"),
        ("keys.s", "good"),
    ] {
        let output = ask(socket, credentials);
        assert!(!output.status.success() && output.stdout.is_empty(), "{socket} {credentials}");
    }
    let plain = format!("nbd+unix:///?socket={}", house.path("good.s"));
    fails(&Command::new("nbdinfo").args(["--size", &plain]).output().unwrap(), "server requires TLS");
    // Users come and go while the server runs.
    fs::copy(house.path("eve.psk"), house.path("keys/keys.psk")).unwrap();
    assert_eq!(ask("keys.s", "eve.psk").stdout, b"3145728\n");
    assert!(!ask("keys.s", "wrong.psk").status.success());
}

#[test]
fn certificates_are_accepted_of_those_whom_an_object_allows() {
    const NAME: &str = r"C=GB,,O=Ours\,, \+ \<Co\>,,CN=a client";
    let house = House::new();
    std::os::unix::fs::symlink(program("nbd"), house.path("qemu-nbd")).unwrap();
    let rules = house.path("rules.json");
    for (number, (object, is_let_in)) in [
        (format!("authz-simple,identity={NAME}"), true),
        ("authz-simple,identity=CN=a client".to_owned(), false),
        ("authz-list,rules.0.match=C=GB,,*,rules.0.policy=allow,rules.0.format=glob".to_owned(), true),
        ("authz-list,rules.0.match=C=GB,,*,rules.0.policy=allow".to_owned(), false),
        (format!("authz-list,policy=allow,rules.0.match={NAME},rules.0.policy=deny"), false),
        (format!("authz-list-file,filename={rules}"), true),
        ("authz-list-file,filename=/no".to_owned(), false),
    ]
    .into_iter()
    .enumerate()
    {
        let heard = |name: &str| {
            let socket = format!("{number}.s");
            let _ = fs::remove_file(house.path(&socket));
            let log = house.path("log");
            let mut command = Command::new(name);
            command.args([
                "-t",
                "-k",
                &house.path(&socket),
                "-r",
                "-f",
                "raw",
                "--tls-creds=t",
                "--tls-authz=a",
            ]);
            command.args(["--object", &format!("{object},id=a"), "--object"]);
            command.arg(format!(
                "tls-creds-x509,id=t,endpoint=server,verify-peer=on,dir={}",
                house.path("good")
            ));
            command.arg(house.path("image")).stderr(fs::File::create(&log).unwrap());
            let server = Running::start(&mut command, &house.0.path().join(&socket));
            let output =
                Command::new("nbdinfo").args(["--size", &house.uri(&socket, "rich")]).output().unwrap();
            drop(server);
            let told = fs::read_to_string(log).unwrap();
            (
                output.stdout,
                told.lines().filter(|line| line.contains("denied")).map(str::to_owned).collect::<Vec<_>>(),
            )
        };
        let ours = heard(&house.path("qemu-nbd"));
        assert_eq!(ours.0, if is_let_in { b"3145728\n".as_slice() } else { b"" }, "{object}");
        // The distribution's QEMU reads no files of rules.
        if !object.contains("file") {
            assert_eq!(ours, heard("qemu-nbd"), "{object}");
        }
    }
}

#[test]
fn our_client_trusts_nobody_else() {
    let house = House::new();
    let certificates = |name: &str, directory: &str| {
        let option = format!("--tls-certificates={}", house.path(directory));
        Running::theirs(&house, name, "nbdkit", &["--tls=require", &option, "null", "1M"])
    };
    let _good = certificates("good.s", "good");
    let _expired = certificates("expired.s", "expired");
    let _keys = {
        let option = format!("--tls-psk={}", house.path("keys/keys.psk"));
        Running::theirs(&house, "keys.s", "nbdkit", &["--tls=require", &option, "null", "1M"])
    };
    let _plain = Running::theirs(&house, "plain.s", "nbdkit", &["null", "1M"]);
    let ask = |uri: &str| run("nbd", &["info", "--size", uri]);
    let good = house.uri("good.s", "good");
    for uri in [&good, &format!("{good}&tls-hostname=localhost"), &format!("{good}&tls-hostname=127.0.0.1")] {
        assert_eq!(ask(uri).stdout, b"1048576\n");
    }
    assert_eq!(ask(&format!("{}&tls-verify-peer=0", house.uri("good.s", "other"))).stdout, b"1048576\n");
    for (uri, words) in [
        (house.uri("good.s", "other"), "UnknownIssuer"),
        (format!("{good}&tls-hostname=elsewhere"), "elsewhere"),
        (house.uri("expired.s", "good"), "xpired"),
        (house.uri("plain.s", "good"), "server refused TLS"),
        (house.uri("keys.s", "wrong.psk"), "TLS"),
        (house.uri("keys.s", "eve.psk"), "TLS"),
        (house.uri("keys.s", "good"), "TLS"),
        (house.uri("good.s", "keys/keys.psk"), "TLS"),
        (house.uri("good.s", "nowhere"), "ca-cert.pem"),
        (house.uri("keys.s", "nowhere.psk"), "nowhere.psk"),
    ] {
        let output = ask(&uri);
        assert!(output.stdout.is_empty(), "{uri}");
        fails(&output, words);
    }
}

/// Who sends on in the clear behind the wish for encryption is not heard: somebody else might have put that there.
#[test]
fn nothing_in_the_clear_counts() {
    let house = House::new();
    let keys = house.path("keys/keys.psk");
    let _server = Running::ours(&house, "s", "image", &["-r", "--tls-psk", &keys]);
    let option = |number: u32| [&b"IHAVEOPT"[..], &number.to_be_bytes(), &[0; 4]].concat();
    let mut stream = UnixStream::connect(PathBuf::from(house.path("s"))).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (starttls, structured, list) = (option(5), option(8), option(3));
    stream.write_all(&[&[0, 0, 0, 3], &starttls[..], &structured, &list].concat()).unwrap();
    let mut answer = Vec::new();
    // The server gives up, with an alert.
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(answer.get(..18), Some(&b"NBDMAGICIHAVEOPT\0\x03"[..]));
    // One acknowledgement, then a record of TLS, and nothing else.
    let magic = 0x0003_e889_0455_65a9_u64.to_be_bytes();
    assert_eq!(answer.windows(8).filter(|window| *window == magic).count(), 1);
    assert_eq!(answer.get(38..), Some(&[21, 3, 3, 0, 2, 2, 50][..]));
}
