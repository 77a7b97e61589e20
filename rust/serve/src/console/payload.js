(() => {
  "use strict";
  const START_256 = Int32Array.of(
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19);
  const concat = (one, other) => {
    const both = new Uint8Array(one.length + other.length);
    both.set(one);
    both.set(other, one.length);
    return both;
  };

  /* BLAKE3 */
  const button = document.getElementById("check-payload");
  const result = document.getElementById("payload-result");
  if (!button || !result) return;

  const say = (mark, kind, text) => {
    result.className = `standing ${kind}`;
    result.textContent = `${mark} ${text}`;
  };

  const check = async () => {
    const response = await fetch(button.dataset.payload, { credentials: "same-origin", cache: "no-store" });
    if (!response.ok) {
      say("–", "none", response.status === 401
        ? "The session has ended; sign in again."
        : `The service did not send the payload (status ${response.status}).`);
      return;
    }
    const hasher = new Blake3();
    const reader = response.body.getReader();
    let bytes = 0;
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      hasher.update(part.value);
      bytes += part.value.length;
    }
    const hash = [...hasher.digest()].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const size = `${bytes.toLocaleString("en")} ${bytes === 1 ? "byte" : "bytes"}`;
    if (hash === button.dataset.hash) {
      say("✓", "good", `Equal: this browser hashed ${size} to the payload hash of the record.`);
    } else {
      say("✗", "bad", `Not equal: this browser hashed ${size} to ${hash}.`);
    }
  };

  button.hidden = false;
  button.addEventListener("click", () => {
    button.disabled = true;
    say("–", "none", "Reading the payload …");
    check()
      .catch(() => say("–", "none", "The service did not respond."))
      .finally(() => { button.disabled = false; });
  });
})();
