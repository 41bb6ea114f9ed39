#!/bin/bash
# The guide's steps for pairs of A2 nodes by hand, over ssh to all nodes at once: one session a node does all there is to do.
# Usage: floor.sh NODES SSH...   NODES has a line a node: address, primary or secondary, the primary's address.
nodes=$1
shift

steps() {
  cat <<END
set -eu
address=$1 role=$2 primary=$3
END
  cat <<'END'
for file in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo performance > $file; done
echo 0 > /proc/sys/vm/swappiness
echo 0 > /proc/sys/kernel/numa_balancing
if [ -e /sys/kernel/debug/sched/migration_cost_ns ]; then echo 50000 > /sys/kernel/debug/sched/migration_cost_ns; fi
nic=$(ip -o -4 addr show | awk -v wanted="$address" '{ sub("/.*", "", $4); if ($4 == wanted) print $2 }')
name=minimax2_5
folder=/etc/ascend-vllm/$name
mkdir -p $folder
umask 077
cat > $folder/service.env <<ENV
VLLM_USE_MODELSCOPE=True
HCCL_IF_IP=$address
GLOO_SOCKET_IFNAME=$nic
TP_SOCKET_IFNAME=$nic
HCCL_SOCKET_IFNAME=$nic
HCCL_BUFFSIZE=1024
HCCL_CONNECT_TIMEOUT=7200
VLLM_ENGINE_READY_TIMEOUT_S=3600
ASCEND_RT_VISIBLE_DEVICES=0,1,2,3,4,5,6,7
HCCL_OP_EXPANSION_MODE=AIV
PYTORCH_NPU_ALLOC_CONF=expandable_segments:True
OMP_PROC_BIND=false
OMP_NUM_THREADS=1
VLLM_ASCEND_ENABLE_FLASHCOMM1=1
HCCL_INTRA_PCIE_ENABLE=1
HCCL_INTRA_ROCE_ENABLE=0
ENV
if [ $role = primary ]; then part="--host $address --port 20004"; rank=""
else part=--headless; rank="--data-parallel-start-rank 1"; fi
cat > $folder/launch.sh <<LAUNCH
#!/bin/bash
set -a
. /etc/ascend-vllm/service.env
set +a
exec vllm serve /opt/data/verification/models/MiniMax-M2.5 --served-model-name minimax25 $part \
  --tensor-parallel-size 8 --data-parallel-size 2 --data-parallel-size-local 1 $rank \
  --data-parallel-address $primary --data-parallel-rpc-port 2347 --max-num-seqs 128 --max-num-batched-tokens 65536 \
  --gpu-memory-utilization 0.92 --enable-expert-parallel --trust-remote-code --enable-auto-tool-choice \
  --tool-call-parser minimax_m2 --reasoning-parser minimax_m2_append_think \
  --compilation-config '{"cudagraph_mode":"FULL_DECODE_ONLY"}' --mm_processor_cache_type shm \
  --additional-config '{"enable_cpu_binding":true}'
LAUNCH
chmod 755 $folder/launch.sh
state=$(docker inspect --format '{{.State.Status}}' $name 2>/dev/null || true)
if [ -z "$state" ]; then
  devices=
  for chip in 0 1 2 3 4 5 6 7; do devices="$devices --device /dev/davinci$chip"; done
  mounts=
  for path in /usr/local/dcmi /usr/local/Ascend/driver/tools/hccn_tool /usr/local/bin/npu-smi /usr/local/Ascend/driver/lib64 \
      /usr/local/Ascend/driver/version.info /etc/ascend_install.info /etc/hccn.conf /opt/data/verification/models; do
    mounts="$mounts --mount type=bind,source=$path,target=$path,readonly"
  done
  docker run --detach --name $name --user 0 --network host --shm-size 1g --restart unless-stopped --init \
    --log-driver json-file --log-opt max-size=100m --log-opt max-file=5 $devices \
    --device /dev/davinci_manager --device /dev/devmm_svm --device /dev/hisi_hdc $mounts \
    --mount type=bind,source=/root/.cache,target=/root/.cache \
    --mount type=bind,source=$folder,target=/etc/ascend-vllm,readonly \
    --entrypoint /bin/bash quay.io/ascend/vllm-ascend:v0.20.2rc1 /etc/ascend-vllm/launch.sh
elif [ "$state" != running ]; then
  docker start $name
fi
if [ $role = primary ]; then
  tries=0
  until curl -sf http://$address:20004/v1/models | grep -q '"minimax25"'; do
    tries=$((tries + 1))
    [ $tries -lt 600 ]
    sleep 0.1
  done
  curl -sf http://$address:20004/v1/chat/completions -H 'Content-Type: application/json' -d '{"model": "minimax25",
    "messages": [{"role": "user", "content": "Hello, who are you?"}], "temperature": 0.8, "top_p": 0.8, "max_tokens": 200}' |
    grep '"completion_tokens"'
fi
END
}

started=
while read -r address role primary; do
  steps "$address" "$role" "$primary" | "$@" "root@$address" bash -s &
  started="$started $!"
done < "$nodes"
failed=0
for job in $started; do
  wait "$job" || failed=1
done
exit $failed
