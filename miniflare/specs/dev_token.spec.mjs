/**
 * `cargo xtask token`: the running Worker accepts what it prints.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { connect } from "../client.mjs";
import { JWT_SECRET, insert, publish, socketUrl, start } from "../fixture.mjs";

const program = fileURLToPath(new URL("../dev_token.mjs", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "realtime-worker-"));
const secrets = join(scratch, ".dev.vars");
writeFileSync(secrets, `ACCESS_TOKEN=unused\nJWT_SECRET=${JWT_SECRET}\n`);
after(() => rmSync(scratch, { recursive: true }));

function mint(...words) {
	return spawnSync(process.execPath, [program, "--secrets", secrets, ...words], { encoding: "utf8" });
}

const claimsOf = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url"));

test("the Worker accepts a minted token, with each of its roles", async () => {
	const server = await start();
	try {
		const { stdout, stderr, status } = mint("--user", "u7", "--roles", "hr, member", "--organization", "org_1");
		assert.equal(status, 0, stderr);
		const client = await connect(socketUrl(server));
		client.send({ type: "auth", token: stdout.trim(), organizationId: "org_1" });
		assert.equal((await client.next()).type, "auth_success");
		const maskingConfig = { ssn: { type: "redact", show: { roles: ["hr"] } }, pay: { type: "redact", show: { roles: ["admin"] } } };
		await publish(server, insert("employees", { id: "e1", ssn: "123", pay: "456" }, { maskingConfig }));
		const change = JSON.stringify(await client.next());
		assert.match(change, /"ssn":"123"/);
		assert.doesNotMatch(change, /"pay":"456"/);
		await client.close();
	} finally {
		await server.dispose();
	}
});

test("a token is good for as many hours as asked for, in the development organization", () => {
	const before = Math.floor(Date.now() / 1_000);
	const { sub, roles, organizationId, exp } = claimsOf(mint("--user", "u8", "--hours", "2").stdout.trim());
	assert.deepEqual({ sub, roles, organizationId }, { sub: "u8", roles: [], organizationId: "org_dev" });
	assert.ok(exp >= before + 7_200 && exp <= Math.floor(Date.now() / 1_000) + 7_200, String(exp));
});

test("what is missing or wrong is named, and no token is printed", () => {
	const cases = [[[], "--user"], [["--user", "u7", "--hours", "never"], "--hours"], [["--user", "u7", "--organization", ""], "--organization"]];
	for (const [words, name] of cases) {
		const { stdout, stderr, status } = mint(...words);
		assert.equal(status, 1);
		assert.equal(stdout, "");
		assert.ok(stderr.startsWith(`error: ${name}`), stderr);
	}
});
