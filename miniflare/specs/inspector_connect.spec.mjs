/**
 * The Inspector in Chromium: connecting, and what it says about a connection.
 */
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { closeTabs, launch, openTab } from "../browser.mjs";
import { ACCESS_TOKEN, message, now, publish, start, tokenOf } from "../fixture.mjs";
import { address, events, fact, openFindings, openInspector, state } from "../inspector.mjs";

const server = await start({}, { vars: { INSPECTOR: "on" } });
after(() => server.dispose());
const browser = await launch();
after(() => browser.close());
afterEach(() => closeTabs(browser));

/** Whether a text is in anything that could outlive the page, or in what it shows. */
function traces(page, text) {
	return page.evaluate((wanted) => {
		const stores = [{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, window.name, history.state];
		const shown = document.documentElement.outerHTML + [...document.querySelectorAll("input")].map(({ value }) => value).join(" ");
		return { stored: JSON.stringify(stores).includes(wanted), shown: shown.includes(wanted) };
	}, text);
}

/** Fills in and submits the form of a side. */
async function connect(side, token, organization) {
	await side.getByLabel("Token or API key").fill(token);
	if (organization) await side.getByLabel("Organization").fill(organization);
	await side.getByRole("button", { name: "Connect", exact: true }).click();
}

test("the tokens of the fragment connect both sides, and are nowhere afterwards", async () => {
	const tokens = { admin: tokenOf("ada", ["admin", "member"]), member: tokenOf("mel"), service: ACCESS_TOKEN };
	const page = await openInspector(browser, server, { tokens });
	assert.equal(page.url(), `${server.url}/`);
	const [ada, mel] = page.sides;
	assert.deepEqual([await fact(ada, "user"), await fact(ada, "roles"), await fact(ada, "method")], ["ada", "admin, member", "session"]);
	assert.deepEqual([await fact(mel, "user"), await fact(mel, "roles"), await fact(mel, "organization")], ["mel", "member", "org_1"]);
	assert.match(await fact(ada, "epoch"), /^[0-9a-f]{8}$/);
	await page.getByRole("tab", { name: "Frames" }).click();
	await page.locator("#frames").getByText("auth", { exact: true }).first().click();
	assert.match(await page.locator("#frame-json").innerText(), /hidden: \d+ characters/);
	// The signature, by which a token can be recognized; the rest of it is not secret.
	for (const token of Object.values(tokens)) {
		assert.deepEqual(await traces(page, token.split(".").at(-1)), { stored: false, shown: false });
	}
	await page.reload();
	await page.getByText("Give it a token").first().waitFor({ state: "attached" });
	await state(page.sides[0], "not connected");
	assert.deepEqual(page.complaints, []);
});

test("an address with tokens that is pasted into the open page is taken and forgotten too", async () => {
	const page = await openInspector(browser, server);
	await page.evaluate((url) => (location.href = url), address(server, { admin: tokenOf("eve", ["admin"]) }));
	await page.getByRole("heading", { name: "A eve" }).waitFor();
	assert.equal(page.url(), `${server.url}/`);
});

test("a token that is pasted connects, and fills in its organization", async () => {
	const page = await openTab(browser);
	await page.goto(server.url);
	const side = page.getByRole("region", { name: "Connection B" });
	const field = side.getByLabel("Token or API key");
	assert.equal(await field.evaluate((input) => getComputedStyle(input).webkitTextSecurity), "disc");
	await field.fill(tokenOf("uma", [], { organizationId: undefined, organizations: { org_7: ["hr"] } }));
	assert.equal(await side.getByLabel("Organization").inputValue(), "org_7");
	await side.getByRole("button", { name: "Connect", exact: true }).click();
	await state(side, "connected");
	assert.equal(await fact(side, "roles"), "hr");
	assert.equal(await side.locator("input[name=token]").inputValue(), "");
});

test("another of the offered tokens takes a side over", async () => {
	const page = await openInspector(browser, server);
	const [, second] = page.sides;
	await second.getByRole("button", { name: "Change token" }).click();
	await second.getByLabel("Offered token").selectOption("admin");
	await second.getByRole("button", { name: "Connect", exact: true }).click();
	await second.getByRole("heading", { name: "ada" }).waitFor();
	await state(second, "connected");
});

test("a refused token is explained", async () => {
	const page = await openTab(browser);
	await page.goto(server.url);
	const side = page.getByRole("region", { name: "Connection A" });
	const findings = await openFindings(side);
	await connect(side, "not-a-token", "org_1");
	await findings.getByText("Ended: invalid_token").waitFor();
	await connect(side, tokenOf("u", [], { exp: now() - 100 }));
	await findings.getByText("Ended: token_expired").waitFor();
	await connect(side, tokenOf("u"), "org_2");
	await findings.getByText("The token names org_1; the connection asked for org_2.").waitFor();
	await connect(side, tokenOf("u", []), "org_1");
	await findings.getByText("This user has no role").waitFor();
});

test("what comes from the network is text", async () => {
	const page = await openInspector(browser, server);
	const markup = `<img src=x onerror="document.title='run'">`;
	await publish(server, message({ [markup]: markup }, { event: markup }));
	await events(page, 1);
	await page.locator("#events").getByText(markup).first().waitFor();
	assert.equal(await page.locator("main img").count(), 0);
	assert.equal(await page.title(), "Inspector · realtime-worker");
	assert.deepEqual(page.complaints, []);
});
