/**
 * The form that publishes: with the service token, or a topic's message as one of the connections.
 */
import { byId, copy, element } from "./dom.js";
import { advancedOf, curlOf, eventOf, EXAMPLES, formatted, JSON_FIELDS, sdkOf } from "./draft.js";

/** The form and its receipt. */
export class PublishView {
	#service;
	#links;
	#form = byId("publish-form");

	/**
	 * @param {import("./service.js").Service} service
	 * @param {import("./link.js").Link[]} links
	 */
	constructor(service, links) {
		this.#service = service;
		this.#links = links;
		byId("service-form").addEventListener("submit", (event) => this.#takeToken(event));
		byId("forget-service").addEventListener("click", () => (service.token = ""));
		service.addEventListener("changed", () => this.draw());
		this.#form.addEventListener("input", () => this.draw());
		this.#form.addEventListener("submit", (event) => this.#submitted(event));
		this.#form.addEventListener("keydown", (event) => {
			if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#form.requestSubmit();
		});
		byId("example").addEventListener("change", ({ target }) => this.#begin(EXAMPLES[target.value]));
		byId("format").addEventListener("click", () => this.#format());
		byId("copy-curl").addEventListener("click", () => {
			void copy(curlOf(location.origin, this.#values.organizationId, eventOf(this.#values).event), "the command");
		});
		byId("copy-sdk").addEventListener("click", () => {
			void copy(sdkOf(location.origin, this.#values, eventOf(this.#values).event), "the code");
		});
		this.#begin(EXAMPLES.masked);
	}

	/** Shows the fields that belong to the selection. */
	draw() {
		this.#offerSenders();
		const { as, what } = this.#form.elements;
		if (as.value !== "service") what.value = "message";
		const values = this.#values;
		const { isKnown } = this.#service;
		byId("service-form").hidden = isKnown;
		byId("service-known").hidden = !isKnown;
		const chosen = [values.what, `${values.what}-${values.eventType}`, values.as, `${values.as}-${values.what}`, values.topic.trim() !== "" && "topic"];
		for (const part of this.#form.querySelectorAll("[data-for]")) {
			part.hidden = !part.dataset.for.split(" ").some((name) => chosen.includes(name));
		}
		const { event, errors } = eventOf(values);
		for (const field of JSON_FIELDS) this.#mark(field, errors.find((error) => error.field === field)?.message ?? "");
		const sent = values.as === "service" ? { organizationId: values.organizationId, ...event } : event;
		byId("advanced-summary").textContent = advancedOf(values, event);
		byId("body-preview").textContent = JSON.stringify(sent, null, 2);
		byId("publish").disabled = values.as === "service" && !isKnown;
		byId("publish-needs").hidden = !byId("publish").disabled;
		const { organizationId } = this.#form.elements;
		organizationId.placeholder = this.#links.find((link) => link.organizationId)?.organizationId ?? "";
	}

	get #values() {
		const values = Object.fromEntries(new FormData(this.#form));
		return { ...values, organizationId: values.organizationId.trim() || this.#form.elements.organizationId.placeholder };
	}

	/** A client publishes messages only, and only while it is connected. */
	#offerSenders() {
		const { as, what } = this.#form.elements;
		what.options[0].disabled = as.value !== "service";
		for (const option of as.options) {
			const link = this.#links.find(({ name }) => name === option.value);
			if (link) option.disabled = link.status.state !== "connected";
		}
	}

	#takeToken(event) {
		event.preventDefault();
		this.#service.token = byId("service-token").value;
		byId("service-token").value = "";
	}

	#begin(example) {
		const { elements } = this.#form;
		for (const name of ["new", "old", "payload", "maskingConfig", "topic", "userId", "targetRoles", "fields", "ownerField", "id"]) elements[name].value = "";
		for (const [name, value] of Object.entries(example)) {
			elements[name].value = JSON_FIELDS.includes(name) ? formatted(value) : value;
		}
		this.draw();
	}

	#format() {
		for (const field of JSON_FIELDS) {
			const area = this.#form.elements[field];
			try {
				if (area.value.trim() !== "") area.value = formatted(JSON.parse(area.value));
			} catch {
				area.focus();
			}
		}
		this.draw();
	}

	/** Focuses a field, which may be under Advanced. */
	#focus(field) {
		const area = this.#form.elements[field];
		area.closest("details")?.setAttribute("open", "");
		area.focus();
	}

	#mark(field, message) {
		const area = this.#form.elements[field];
		area.setAttribute("aria-invalid", message !== "");
		byId(`${field}-error`).textContent = message;
	}

	async #submitted(submission) {
		submission.preventDefault();
		const values = this.#values;
		const { event, errors } = eventOf(values);
		if (errors.length > 0) return this.#focus(errors[0].field);
		if (values.as === "service" && !this.#service.isKnown) return byId("service-token").focus();
		byId("publish").setAttribute("aria-busy", "true");
		try {
			this.#show(values.as === "service" ? await this.#publish(values.organizationId, event) : await this.#send(values.as, event));
		} catch (error) {
			this.#show({ isGood: false, title: error.code ?? "The request failed", text: error.message });
		} finally {
			byId("publish").removeAttribute("aria-busy");
		}
	}

	async #publish(organizationId, event) {
		const { status, answer } = await this.#service.publish(organizationId, event);
		if (status === 202) {
			const { accepted, duplicate, offset, delivered } = answer;
			const again = duplicate ? " It had been published before, under the same id." : "";
			return { isGood: true, title: `${status} accepted: delivered to ${delivered}`, text: `${accepted} event at offset ${offset}.${again}` };
		}
		const { code = "", message = "", field } = answer.error ?? {};
		return { isGood: false, title: `${status} ${code}`, text: field ? `${field}: ${message}` : message };
	}

	async #send(side, { topic, private: isPrivate, event, payload }) {
		const link = this.#links.find(({ name }) => name === side);
		if (topic === undefined) throw new TypeError("A client publishes to topics only: give one.");
		await link.send({ topic, isPrivate, event, payload });
		return { isGood: true, title: "ack", text: `The server has taken the message of ${side}.` };
	}

	#show({ isGood, title, text }) {
		const receipt = byId("receipt");
		receipt.dataset.level = isGood ? "good" : "problem";
		receipt.replaceChildren(element("strong", {}, title), element("span", {}, text));
	}
}
