/**
 * The Inspector in Chromium: publishing, what two roles receive of it side by side, subscriptions, topics, presence,
 * figures.
 */
import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";
import { closeTabs, keepPicture, launch, openTab } from "../browser.mjs";
import { insert, message, publish, start, tokenOf } from "../fixture.mjs";
import { address, compared, events, fact, openFindings, openInspector, openPart, state } from "../inspector.mjs";

const server = await start({ tables: { payroll: { requiredRoles: ["admin"] } } }, { vars: { INSPECTOR: "on" } });
after(() => server.dispose());
const browser = await launch();
after(() => browser.close());
afterEach(() => closeTabs(browser));

/** Presses the button, and returns the receipt. */
async function send(page) {
	const receipt = page.locator("#receipt");
	await receipt.evaluate((element) => element.replaceChildren());
	await page.getByRole("button", { name: "Publish", exact: true }).click();
	await receipt.locator("strong").waitFor();
	return receipt.innerText();
}

async function subscribe(side, form, values) {
	const part = await openPart(side, "Subscriptions");
	for (const [name, value] of Object.entries(values)) await part.getByLabel(name, { exact: true }).fill(value);
	await part.getByRole("form", { name: `${form}, connection` }).getByRole("button", { name: "Subscribe" }).click();
	return part;
}

test("a row is published: the admin sees it in full, for the member the masked columns are marked", async () => {
	const page = await openInspector(browser, server);
	assert.match(await send(page), /^202 accepted: delivered to 2/);
	await events(page, 1);
	const rows = await compared(page, "public.employees");
	assert.deepEqual(rows, {
		id: [`"e1"`, `"e1"`],
		name: [`"Grace"`, `"Grace"`],
		"ssn differs": [`"123-45-6789"`, `"*****6789" masked`],
		"email differs": [`"grace@example.com"`, `"g***@e******.com" masked`],
		"salary differs": ["91000", `"[REDACTED]" masked`],
	});
	await keepPicture(page, "inspector-side-by-side");
	assert.deepEqual(page.complaints, []);
});

test("the server's refusal names the field, and what is no JSON is not sent", async () => {
	const page = await openInspector(browser, server);
	await page.getByLabel("Masking").fill(`{"ssn": {"type": "sn"}}`);
	assert.match(await send(page), /^400 unknown_mask_type\s+maskingConfig\.ssn\.type: /);
	await page.getByLabel("New row").fill(`{"id": 1,\n"name" 2}`);
	await page.getByText("No JSON at line 2, column 8").waitFor();
	assert.equal(await page.getByLabel("New row").getAttribute("aria-invalid"), "true");
	await page.getByRole("button", { name: "Publish", exact: true }).click();
	assert.equal(await page.evaluate(() => document.activeElement.id), "new");
	await page.getByRole("button", { name: "Forget it" }).click();
	assert.equal(await page.getByRole("button", { name: "Publish", exact: true }).isDisabled(), true);
	await page.getByLabel("Service token").fill("wrong-service-token-0123");
	await page.getByRole("button", { name: "Use" }).click();
	await page.getByLabel("Example").selectOption("message");
	assert.match(await send(page), /^401 unauthorized/);
});

test("an event that only one side may see is not received by the other, which is told why", async () => {
	const page = await openInspector(browser, server);
	const [, mel] = page.sides;
	const findings = await openFindings(mel);
	await page.getByLabel("Only roles").fill("admin, hr");
	assert.match(await send(page), /delivered to 1/);
	await page.locator("#events").getByText("not received").first().waitFor();
	await findings.getByText("It was for holders of admin or hr; this connection holds member.").waitFor();
	await page.getByLabel("Only roles").fill("");
	await page.getByLabel("Only user").fill("ada");
	await send(page);
	await findings.getByText("It was for the user ada; this is mel.").waitFor();
	await page.getByLabel("Only user").fill("");
	await page.getByLabel("Topic", { exact: true }).and(page.locator("#publish-form input")).fill("room:9");
	await send(page);
	await findings.getByText("It went to the public topic room:9, to which this connection is not subscribed.").waitFor();
	await page.getByLabel("Topic", { exact: true }).and(page.locator("#publish-form input")).fill("");
	await page.getByLabel("Table").and(page.locator("#publish-form input")).fill("payroll");
	await send(page);
	await findings.getByText("The deployment's own rules for the table decide too").waitFor();
	await page.getByLabel("Organization").and(page.locator("#publish-form input")).fill("org_2");
	await send(page);
	await findings.getByText("It went to org_2; this connection is in org_1.").waitFor();
	await keepPicture(page, "inspector-why-nothing");
});

test("a table subscription with a filter narrows one side, until it is taken away", async () => {
	const page = await openInspector(browser, server);
	const [, mel] = page.sides;
	const part = await subscribe(mel, "Subscribe to a table", { Table: "claims", Filter: "status=eq.open" });
	// Its own line: until the page is drawn again, the default subscription is shown, which is active too.
	await part.locator("li", { hasText: "status=eq.open" }).getByText("active", { exact: true }).waitFor();
	assert.equal(await part.locator("li").count(), 1);
	await publish(server, { messages: [insert("claims", { id: 1, status: "closed" }), insert("claims", { id: 2, status: "open" }), insert("other", { id: 3 })] });
	await page.locator("#events > li").nth(2).waitFor();
	await part.getByText("1 received").waitFor();
	assert.equal(await fact(page.sides[0], "events"), "3");
	assert.deepEqual(await compared(page, "public.other", { isForBoth: false }), { id: ["3", "not received"] });
	const findings = await openFindings(mel);
	await findings.getByText("Only these arrive: all changes of public.claims where status=eq.open.").waitFor();
	await part.getByRole("button", { name: /^Remove/ }).click();
	assert.equal(await page.evaluate(() => document.activeElement.name), "table");
	await part.locator("li", { hasText: "every change" }).getByText("active").waitFor();
	await publish(server, insert("third", { id: 4 }));
	await page.locator("#events > li", { hasText: "public.third" }).waitFor();
	assert.deepEqual(await compared(page, "public.third"), { id: ["4", "4"] });
});

test("a refused subscription says so, with its code", async () => {
	const page = await openInspector(browser, server);
	const [, mel] = page.sides;
	const part = await subscribe(mel, "Subscribe to a table", { Table: "claims", Filter: "status is open" });
	await part.getByText("invalid_filter:").waitFor();
	const findings = await openFindings(mel);
	await findings.getByText("was refused: invalid_filter").waitFor();
});

test("a topic is heard by who entered it; who is there is seen, and a message can be sent as one of them", async () => {
	const page = await openInspector(browser, server);
	const [ada, mel] = page.sides;
	for (const side of [ada, mel]) {
		const part = await subscribe(side, "Subscribe to a topic", { Topic: "room:1" });
		await part.getByText("public topic room:1").waitFor();
		await part.locator("li", { hasText: "room:1" }).getByText("active").waitFor();
	}
	const presence = await openPart(mel, "Presence");
	await presence.getByLabel("Topic").selectOption("room:1");
	await presence.getByLabel("Metadata").fill(`{"name": "Mel"}`);
	await presence.getByRole("button", { name: "Track", exact: true }).click();
	const seen = await openPart(ada, "Presence");
	await seen.getByRole("cell", { name: `{"name":"Mel"}` }).waitFor();
	await page.getByLabel("Example").selectOption("topic");
	await page.getByRole("combobox", { name: "Publish as", exact: true }).selectOption("B");
	assert.match(await send(page), /^ack/);
	await page.locator("#events > li", { hasText: "cursor in room:1" }).waitFor();
	await events(page, 1);
	assert.deepEqual(await compared(page, "cursor"), { x: ["1", "1"], y: ["2", "2"] });
	await presence.getByRole("button", { name: "Untrack" }).click();
	await seen.getByText("room:1: 0").waitFor();
	await keepPicture(page, "inspector-topic");
});

test("the figures come from the server, as charts and as text", async () => {
	const organization = "org_figures";
	const [admin, member] = [tokenOf("ada", ["admin"], { organizationId: organization }), tokenOf("mel", ["member"], { organizationId: organization })];
	const page = await openTab(browser);
	await page.clock.install();
	await page.goto(address(server, { admin, member }));
	const side = page.getByRole("region", { name: "Connection B" });
	await state(side, "connected");
	await page.getByRole("tab", { name: "Metrics" }).click();
	await page.clock.runFor(2_100);
	await page.getByRole("img", { name: "Connections, the last 30 seconds: now 2, most 2" }).waitFor();
	await publish(server, { organizationId: organization, messages: [message(1), message(2), message(3), message(4)] });
	await page.clock.runFor(2_100);
	await page.locator("#figures > div", { hasText: /^deliveries\s*8$/ }).waitFor();
	const chart = page.getByRole("img", { name: /^Deliveries per second, the last 30 seconds: now \d/ });
	await chart.waitFor();
	assert.match(await chart.getAttribute("aria-label"), /most [1-9]/);
	assert.match(await page.locator("#figures").innerText(), /by role\s+admin 1, member 1/);
	for (let count = 0; count < 3; count += 1) {
		const rows = await page.locator("#traffic-rows tr").count();
		await publish(server, { organizationId: organization, messages: Array.from({ length: 2 + count }, () => message("more")) });
		await page.clock.runFor(2_100);
		await page.locator("#traffic-rows tr").nth(rows).waitFor({ state: "attached" });
	}
	await page.getByText("Latest metrics as a table").click();
	await keepPicture(page, "inspector-traffic");
	await page.getByRole("button", { name: "Forget it" }).click();
	await page.getByText("The figures need the service token.").waitFor();
});
