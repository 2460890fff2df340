#!/usr/bin/env bash
# What a new user does in the first hour, one errand after the other, from a fresh clone. Ends with exit code 1 at the first wrong
# outcome, and says which errand it was.
#
#     bash examples/errands.sh                       .venv/bin/redistill of this clone (make install first), in a temporary folder
#     REDISTILL="python -m redistill" bash examples/errands.sh FOLDER
#
# Everything is small, on the CPU, and without a network. About five minutes on two cores.
set -u
clone=$(cd "$(dirname "$0")/.." && pwd)
redistill=${REDISTILL:-"$clone/.venv/bin/redistill"}
python=${PYTHON:-"$clone/.venv/bin/python"}
here=${1:-$(mktemp -d)}
mkdir -p "$here" && cd "$here" || exit 1
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} HF_HUB_OFFLINE=1
count=0

fail() { echo "errand $count failed: $errand"; echo "  $1"; sed 's/^/  | /' out.txt err.txt | tail -n 25; exit 1; }
errand() { count=$((count + 1)); errand=$1; echo "errand $count: $1"; }
# run EXPECTED-EXIT-CODE ARGUMENTS: redistill, its output in out.txt and err.txt
run() {
  want=$1; shift
  $redistill "$@" >out.txt 2>err.txt </dev/null; got=$?
  [ "$got" = "$want" ] || fail "redistill $* ended with $got, expected $want"
  if [ "$want" != 1 ] && grep -q Traceback err.txt; then fail "redistill $* printed a traceback"; fi
}
says() { cat out.txt err.txt | tr -s ' \n' ' ' | grep -qiE -- "$1" || fail "the output does not say: $1"; }
silent_on() { if grep -qiE -- "$1" out.txt err.txt; then fail "the output says: $1"; fi; }
is_there() { [ -s "$1" ] || fail "$1 is missing or empty"; }

# --- the world: 240 sums with a right and a wrong trace each, two labels of them wrong, and a student of one layer --------------------
"$python" - <<'PYTHON' >out.txt 2>err.txt || { errand="make the small world"; fail "see below"; }
import json, string, torch
from transformers import AutoConfig, AutoModelForCausalLM
from redistill.model.loading import character_tokenizer
with open("traces.jsonl", "w") as file:
    for i in range(240):
        said = [{"text": f"{i}+{i} is \\boxed{{{2 * i + wrong}}}", "teacher": "t", "correct": (not wrong) == (i > 1)} for wrong in (0, 1)]
        print(json.dumps({"problem": f"What is {i}+{i}?", "answer": str(2 * i), "generations": said}), file=file)
with open("problems.jsonl", "w") as file:
    for i in range(6):
        print(json.dumps({"problem": f"What is {i}+1?", "answer": str(i + 1)}), file=file)
with open("pairs.jsonl", "w") as file:
    for i in range(24):
        print(json.dumps({"prompt": f"{i}+{i}=", "chosen": f"{2 * i}", "rejected": f"{2 * i + 1}"}), file=file)
with open("misspelt.jsonl", "w") as file:
    print(json.dumps({"problm": "2+2?", "answer": "4", "generations": [{"text": "4"}]}), file=file)
tokenizer = character_tokenizer(string.printable)
config = AutoConfig.for_model("llama", vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                              num_attention_heads=1, num_key_value_heads=1, max_position_embeddings=512)
torch.manual_seed(0)
AutoModelForCausalLM.from_config(config).save_pretrained("student")
tokenizer.save_pretrained("student")
PYTHON
cat >dpo.yaml <<'YAML'
model_name_or_path: student
dataset_name: pairs.jsonl
per_device_train_batch_size: 4
max_steps: 2
max_length: 100
report_to: none
YAML

# --- 3: at the terminal ---------------------------------------------------------------------------------------------------------------
errand "--help lists the commands at 80 columns"
COLUMNS=80 run 0 --help
says "init .*run .*report"
awk 'length($0) > 80 { wide = 1 } END { exit wide }' out.txt || fail "a line of --help is wider than 80 columns"

errand "a misspelt command suggests the nearest"
run 2 rnu quickstart
says "run"

errand "the shipped recipes are listed"
run 0 recipes
says "quickstart"

# --- 5: a way in without training ---------------------------------------------------------------------------------------------------
errand "audit says what a file holds, and which labels to look at"
run 0 audit traces.jsonl
says "480 traces of 240 problems"
says "4 contradict a label"
is_there traces-audit/audit.html
is_there traces-audit/verdicts.parquet

errand "a file with a misspelt column is refused with the column's name"
run 2 init --traces misspelt.jsonl --model student --name misspelt
says "problm|problem"

# --- 1: defaults that can work -------------------------------------------------------------------------------------------------------
errand "init writes a recipe that validate, doctor and plan accept"
run 0 init --traces traces.jsonl --model student --name mine
says "wrote mine.yaml"
grep -q "yaml-language-server" mine.yaml || fail "mine.yaml has no schema line for editors"
run 0 validate mine.yaml
run 0 doctor --recipe mine.yaml
run 0 plan mine.yaml
says "steps"
silent_on "nan"

errand "a misspelt setting is a sentence that suggests the right one, before any work"
run 2 run mine.yaml --set prompt.templat=bare
says "template"
[ ! -e runs/mine ] || fail "the refused run left a folder"

errand "the pairs can be looked at before training"
small=(--set evaluate.n=1 --set evaluate.max_new_tokens=8 --set train.sft.epochs=0.2 --set train.control.epochs=0.2 --set train.redi.epochs=0.2)
run 0 run mine.yaml "${small[@]}" --until select
run 0 show runs/mine/select/pairs/part-00000.parquet 0
says "chosen:.*rejected:"
run 0 show runs/mine/verify/label_agreement.json

# --- the run, and again ---------------------------------------------------------------------------------------------------------------
errand "the run ends with a report, and the same command repeats nothing"
run 0 run mine.yaml "${small[@]}"
is_there runs/mine/report.html
before=$(find runs/mine/train -name 'model.safetensors' -exec stat -c '%n %Y' {} + | sort)
run 0 run mine.yaml "${small[@]}"
[ "$before" = "$(find runs/mine/train -name 'model.safetensors' -exec stat -c '%n %Y' {} + | sort)" ] || fail "a student was trained again"

errand "a second run takes over the finished stages of the first"
run 0 run mine.yaml "${small[@]}" --set train.redi.learning_rate=1e-6 --name mine-low --from-run runs/mine
cmp -s runs/mine/train/sft/model/model.safetensors runs/mine-low/train/sft/model/model.safetensors || fail "the SFT student is another one"

# --- 2: figures that cannot be misread ------------------------------------------------------------------------------------------------
errand "scores print no impossible interval"
run 0 scores runs/mine
silent_on "nan|p = 0\.000|-[0-9.]+ to [0-9.]+ *%"
run 0 compare runs/mine runs/mine --student redi:control
silent_on "nan|p = 0\.000"

errand "evaluate says how many answers were cut"
run 0 evaluate student --benchmark file:problems.jsonl --n 1 --temperature 0 --max-new-tokens 4 --name untrained
says "cut"

errand "the card of the student shows the control"
grep -q "| control |" runs/mine/train/redi/model/README.md || fail "no row of the control in the model card"

errand "why tells the way of a trace, and names the column of its label"
run 0 show runs/mine/verify/groups/part-00000.parquet 0
id=$(grep -oE '\bt[0-9a-f]{16}\b' out.txt | head -n 1)
run 0 why "$id" runs/mine
says "verify"
silent_on "incorrect \(correct\)"

# --- 4: docs ---------------------------------------------------------------------------------------------------------------------------
errand "a DPO config of TRL becomes a recipe that runs"
"$python" "$clone/examples/from_trl.py" --config dpo.yaml --out from-trl.yaml >out.txt 2>err.txt || fail "from_trl.py"
run 0 run from-trl.yaml
is_there runs/from-trl/train/dpo/model/model.safetensors

errand "an objective from a file of one's own trains"
cat >mine_too.py <<'PYTHON'
import torch
from redistill.train.objectives import Losses

def hinge(chosen_logps, rejected_logps, *, margin: float = 1.0):
    losses = torch.relu(margin - (chosen_logps - rejected_logps))
    return Losses(losses, torch.ones_like(losses))
PYTHON
run 0 run from-trl.yaml --name own --code mine_too.py --set 'train.dpo.objective={name: "mine_too:hinge", margin: 2.0}'

# --- 5: ways out -----------------------------------------------------------------------------------------------------------------------
errand "a student goes to the hub's layout, to vLLM and to lm-eval; where GGUF cannot hold its tokenizer a sentence names llama.cpp's converter"
run 0 export runs/mine --to hub -o hub --stage redi
is_there hub/model/README.md
run 0 export runs/mine --to vllm -o vllm --stage redi
is_there vllm/README.md
run 0 export runs/mine --to lm-eval -o lm-eval --stage redi
is_there lm-eval/README.md
run 2 export runs/mine --to gguf -o gguf --stage redi
says "llama.cpp's own converter"

errand "a plain folder in place of a run is a sentence, and a folder of runs names them"
run 2 scores .
says "run"
run 2 report runs
says "runs/mine"

echo "$count errands done in $here"
