"""Chat templates and conversations, written for the tests. They use of jinja what published templates use."""

MARKED = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEMPLATES = {
    "marked": MARKED,
    "headers": """{{- bos_token }}
{%- if tools is not none %}{{ '[tools]' + (tools | tojson(indent=2)) }}{% endif %}
{%- for message in messages %}
    {%- set content = '<|h|>' + message.role + '<|/h|>\n\n' + message.content | trim + '<|eot|>' %}
    {%- if loop.first and not date_string is defined %}{{ '[' + strftime_now('%Y')[:0] + ']' }}{% endif %}
    {{- content }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|h|>assistant<|/h|>\n\n' }}{% endif %}
""",
    "instructions": """{% if messages[0]['role'] == 'system' %}
    {% set system = messages[0]['content'] %}
    {% set rest = messages[1:] %}
{% else %}
    {% set rest = messages %}
{% endif %}
{{ bos_token }}{% for message in rest %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('roles must alternate user/assistant') }}
    {% endif %}
    {% if message['role'] == 'user' %}
{{ '[INST] ' + (system + '\n\n' if system is defined and loop.last else '') + message['content'] + ' [/INST]' }}
    {% else %}
{% generation %}{{ ' ' + message['content'] + eos_token }}{% endgeneration %}
    {% endif %}
{% endfor %}""",
    "thinking": """{%- set ns = namespace(last=messages | length - 1, seen=false) %}
{%- for message in messages[::-1] %}
    {%- if message.role == 'tool' %}{% continue %}{% endif %}
    {%- if ns.seen %}{% break %}{% endif %}
    {%- set ns.seen = true %}
{{ message | tojson }}
{%- endfor %}
{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think></think>' }}{% endif %}""",
}
CHATS = {
    "one question": [{"role": "user", "content": " Where is the harbour? "}],
    "with system": [
        {"role": "system", "content": "Be <short> & polite."},
        {"role": "user", "content": "Wo gibt es Käse?"},
        {"role": "assistant", "content": "On Chapel Steps.", "tool_calls": None},
        {"role": "user", "content": "Thanks — \"really\"? 'Yes'"},
    ],
    "two users": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
