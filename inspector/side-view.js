/**
 * The panel of one connection: its token, its identity, its subscriptions, and why it may receive nothing.
 */
import { diagnose } from "./diagnosis.js";
import { ago, byId, copyOf, element, facts, oncePerPicture, partsOf, refill } from "./dom.js";
import { PresenceView } from "./presence-view.js";
import { PROTOCOLS } from "./protocols.js";
import { SubscriptionsView } from "./subscriptions-view.js";
import { mintToken, organizationsOf } from "./token.js";

const STATES = { idle: "not connected", connecting: "connecting", connected: "connected", waiting: "waiting", closed: "closed" };
const SIGNS = { connected: "●", connecting: "◌", waiting: "◌", idle: "○", closed: "✕" };
const LEVELS = { good: "✓", hint: "i", problem: "!" };

/** Shows a link. */
export class SideView {
	#link;
	#surroundings;
	#parts;
	#offered = [];
	#subscriptions;
	#presence;
	#editing = false;
	/** The secret with which a development server's tokens are signed. */
	#secret = "";
	draw = oncePerPicture(() => this.#drawNow());

	/**
	 * @param {import("./link.js").Link} link
	 * @param {() => object} surroundings of {@link diagnose}
	 */
	constructor(link, surroundings) {
		this.#link = link;
		this.#surroundings = surroundings;
		const panel = copyOf("side");
		panel.dataset.side = link.name;
		panel.setAttribute("aria-label", `Connection ${link.name}`);
		this.#parts = partsOf(panel);
		this.#parts.letter.textContent = link.name;
		this.#parts.letter.dataset.side = link.name;
		for (const form of panel.querySelectorAll("form[aria-label]")) form.ariaLabel += `, connection ${link.name}`;
		byId("connections").append(panel);
		this.#subscriptions = new SubscriptionsView(link, this.#parts);
		this.#presence = new PresenceView(link, this.#parts);
		this.#listen();
		this.draw();
	}

	/** Offers tokens to choose from. */
	offer(tokens) {
		this.#offered = tokens;
		const { offer, offered } = this.#parts;
		offer.hidden = tokens.length === 0;
		offered.replaceChildren(element("option", { value: "" }, "paste one"), ...tokens.map(({ name }, index) => element("option", { value: index }, name)));
	}

	/** Lets the connection become any user, with tokens signed with this secret. */
	offerAnyone(secret) {
		this.#secret = secret;
		this.draw();
	}

	/** Connects with a token that was offered. */
	connect({ name, token }) {
		this.#editing = false;
		this.#link.connect({ label: name, token, organizationId: organizationsOf(token)[0] ?? "" });
		this.draw();
	}

	#listen() {
		const { connectForm, becomeForm, offered, resume, drop, disconnect, change, toggle, more } = this.#parts;
		this.#link.addEventListener("changed", this.draw);
		const { protocol, anonymous } = connectForm.elements;
		protocol.replaceChildren(...[...PROTOCOLS.values()].map(({ id, title }) => element("option", { value: id }, title)));
		for (const field of [protocol, anonymous]) field.addEventListener("change", () => this.#demandToken());
		connectForm.addEventListener("submit", (event) => this.#connect(event));
		connectForm.elements.token.addEventListener("input", ({ target }) => this.#readOrganization(target.value));
		offered.addEventListener("change", ({ target }) => {
			const chosen = this.#offered[target.value];
			connectForm.elements.token.value = chosen?.token ?? "";
			this.#readOrganization(chosen?.token ?? "");
		});
		becomeForm.addEventListener("submit", (event) => void this.#become(event));
		toggle.addEventListener("click", () => {
			more.hidden = !more.hidden;
			this.draw();
		});
		resume.addEventListener("click", () => this.#link.resume());
		drop.addEventListener("click", () => this.#link.drop());
		disconnect.addEventListener("click", () => this.#link.disconnect());
		change.addEventListener("click", () => {
			const { elements } = connectForm;
			elements.protocol.value = this.#link.protocol.id;
			elements.organizationId.value = this.#link.organizationId;
			this.#demandToken();
			this.#editing = true;
			this.#drawNow();
			connectForm.elements.token.focus();
		});
	}

	#readOrganization(token) {
		const [organization] = organizationsOf(token);
		if (organization) this.#parts.connectForm.elements.organizationId.value = organization;
	}

	/** Some protocols admit clients without a token. */
	#demandToken() {
		const { anonymous, connectForm } = this.#parts;
		const { protocol, token, anonymous: isAnonymous } = connectForm.elements;
		const { needsToken } = PROTOCOLS.get(protocol.value);
		anonymous.hidden = needsToken;
		if (needsToken) isAnonymous.checked = false;
		token.disabled = isAnonymous.checked;
		token.required = !this.#link.hasToken;
		token.placeholder = this.#link.hasToken && !token.disabled ? "the same as before" : "";
	}

	#connect(event) {
		event.preventDefault();
		const { token, organizationId, protocol, anonymous } = this.#parts.connectForm.elements;
		const label = this.#offered.find((one) => one.token === token.value.trim())?.name ?? "";
		const fresh = token.value.trim();
		const who = { organizationId: organizationId.value.trim(), protocol: protocol.value };
		this.#editing = false;
		if (anonymous.checked) this.#link.connect({ ...who, label: "nobody", token: "" });
		else this.#link.connect(fresh ? { ...who, label, token: fresh } : who);
		token.value = "";
		this.#parts.offered.value = "";
		this.draw();
	}

	async #become(event) {
		event.preventDefault();
		const { user, roles } = Object.fromEntries(new FormData(this.#parts.becomeForm));
		const organizationId = this.#link.organizationId || organizationsOf(this.#offered[0]?.token ?? "")[0];
		const who = { user: user.trim(), roles: roles.split(",").map((role) => role.trim()).filter(Boolean), organizationId };
		this.connect({ name: who.roles.join(", "), token: await mintToken(this.#secret, who) });
	}

	#drawNow() {
		const { status, identity, label } = this.#link;
		const parts = this.#parts;
		const { state } = status;
		const isUp = !["idle", "closed"].includes(state);
		parts.who.textContent = identity?.userId ?? (label || "no token yet");
		parts.countdown.textContent = countdownOf(status);
		parts.state.dataset.state = state;
		refill(parts.state, [element("span", { "aria-hidden": "true" }, `${SIGNS[state]} `), element("span", {}, STATES[state])]);
		parts.glance.textContent = this.#glance();
		parts.toggle.setAttribute("aria-expanded", !parts.more.hidden);
		parts.becomeForm.hidden = this.#secret === "" || (parts.more.hidden && isUp);
		parts.connectForm.hidden = isUp && !this.#editing;
		parts.actions.hidden = state === "idle";
		parts.resume.hidden = state !== "closed";
		parts.drop.hidden = state !== "connected";
		parts.disconnect.hidden = !isUp;
		parts.change.hidden = !isUp || this.#editing;
		const { isForeign, hasTopics } = this.#link.protocol;
		parts.presence.hidden = isForeign;
		parts.withPresence.hidden = isForeign;
		parts.topicForm.hidden = !hasTopics;
		refill(parts.facts, facts(this.#facts()));
		this.#subscriptions.draw();
		this.#presence.draw();
		this.#drawFindings();
	}

	/** The status line, which is always visible. */
	#glance() {
		const { identity, counts, position, interests, protocol } = this.#link;
		if (!identity) return "";
		const counted = (count, what) => `${count} ${what}${count === 1 ? "" : "s"}`;
		const isNarrowed = interests.list.some(({ isDefault }) => !isDefault);
		const parts = [protocol.id !== "native" && protocol.title, identity.roles.join(", ") || "no role", isNarrowed && counted(interests.list.length, "subscription"), counted(counts.events, "event"), position && `offset ${position.offset}`];
		return parts.filter(Boolean).join(" · ");
	}

	#facts() {
		const { identity, welcome, position, counts, claimed, organizationId, protocol } = this.#link;
		if (!identity) return [];
		const reconnects = Math.max(0, counts.connections - 1);
		// What another protocol does not report is not shown.
		const stream = [
			["offset", position?.offset ?? "–"],
			["epoch", element("code", { title: position?.epoch ?? "" }, position?.epoch.slice(0, 8) ?? "–")],
			["recovered", { true: "yes", false: "no" }[welcome?.recovered] ?? "not yet"],
		];
		return [
			["user", identity.userId ?? "none"],
			["roles", identity.roles.join(", ") || "none"],
			["organization", organizationId],
			["protocol", protocol.title],
			["method", identity.authMethod],
			...(protocol.isForeign ? [] : stream),
			["events", counts.events],
			["reconnects", counts.gaps > 0 ? `${reconnects}, ${counts.gaps} with a gap` : reconnects],
			["token ends", claimed.expiry === undefined ? "–" : ago(claimed.expiry)],
		];
	}

	#drawFindings() {
		const findings = diagnose(this.#link, this.#surroundings());
		const problems = findings.filter(({ level }) => level === "problem").length;
		const hints = findings.filter(({ level }) => level === "hint").length;
		const first = problems > 1 ? `${problems} problems` : findings[0].title;
		const more = hints > 0 && findings[0].level !== "hint" && `${hints} ${hints === 1 ? "hint" : "hints"}`;
		// The state already says that there is no connection yet.
		this.#parts.worst.textContent = problems > 0 && this.#link.status.state !== "idle" ? first : "";
		this.#parts.glance.hidden = this.#parts.worst.textContent !== "";
		this.#parts.findingsSummary.textContent = [first, more].filter(Boolean).join(", ");
		this.#parts.findingsSummary.dataset.level = problems > 0 ? "problem" : "";
		refill(this.#parts.findings, findings.map(findingOf));
	}
}

/** Beside the state rather than in it, because the state is read out whenever it changes. */
function countdownOf({ state, retryAt, attempt }) {
	if (state !== "waiting") return "";
	return `${Math.max(0, Math.ceil((retryAt - Date.now()) / 1_000))} s to attempt ${attempt + 1}`;
}

function findingOf({ level, title, detail }) {
	const sign = element("span", { class: "sign", role: "img", "aria-label": level }, LEVELS[level]);
	return element("li", { "data-level": level }, sign, element("div", {}, element("strong", {}, title), element("p", {}, detail)));
}
