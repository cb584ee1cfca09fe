/**
 * Certificate authorities and certificates for tests, created by `openssl`, for a server with TLS.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

/** A folder of certificates, which is removed with this object. */
export class Certificates {
	folder = mkdtempSync(path.join(tmpdir(), "realtime-certificates-"));

	/** Creates an authority, and returns the path of its certificate. */
	authority(name) {
		this.#openssl("req", "-x509", ...this.#key(name), "-subj", `/CN=${name}`, "-days", "2", "-out", `${name}.crt`);
		return path.join(this.folder, `${name}.crt`);
	}

	/** Creates a certificate for a host, signed by an authority, and returns the paths of certificate and key. */
	certificate(name, host, authority) {
		this.#openssl("req", ...this.#key(name), "-subj", `/CN=${host}`, "-out", `${name}.csr`);
		writeFileSync(path.join(this.folder, `${name}.ext`), `subjectAltName = DNS:${host}`);
		const signed = ["-CA", `${authority}.crt`, "-CAkey", `${authority}.key`, "-CAcreateserial", "-days", "1", "-extfile", `${name}.ext`];
		this.#openssl("x509", "-req", "-in", `${name}.csr`, ...signed, "-out", `${name}.crt`);
		return { certificate: path.join(this.folder, `${name}.crt`), key: path.join(this.folder, `${name}.key`) };
	}

	dispose() {
		rmSync(this.folder, { recursive: true });
	}

	#key(name) {
		return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", `${name}.key`];
	}

	#openssl(...words) {
		execFileSync("openssl", words, { cwd: this.folder, stdio: "pipe" });
	}
}
